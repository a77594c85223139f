"""Members: their profile, the list, and the row that holds every fact about them."""
