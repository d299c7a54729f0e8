"""The page against people who mean harm, over HTTP."""
