"""The viewer's data."""
