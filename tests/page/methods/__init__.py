"""Methods in the page."""
