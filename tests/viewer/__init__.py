"""What tests the viewer outside a browser: its pure functions, in node, and how its files become one."""
