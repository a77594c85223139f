"""Files about members. private belongs to its uploader alone; one condition, in visibility.py, says who sees what."""
