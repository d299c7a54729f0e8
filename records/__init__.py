"""What flows from room to room, as plain data, and the store of kept answers."""
