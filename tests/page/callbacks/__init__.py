"""The page's callbacks."""
