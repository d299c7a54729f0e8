"""What is told of a checkpoint or a prompt that cannot be used."""


class ModelError(RuntimeError):
    """A checkpoint cannot be used; the message is one clear line."""


class PromptError(ValueError):
    """A prompt cannot be used; the message is one clear line."""
