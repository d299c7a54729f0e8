"""What stands on and around a picture: letters, colour bars, titles, grids."""
