"""What each command does, a file each; loaded when it runs, since a model takes seconds to import."""
