"""The commands of the shell, a file each, and what they share. cli.py is their entry."""
