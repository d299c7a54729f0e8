"""Files to take away: what is shown, in words; pictures, animations, documents, numbers."""
