"""What documents knows of people: their id, whether they are still there, and who holds their membership."""
