"""Any input: a corpus of pictures, prompts and settings, each a right result or one clear line."""
