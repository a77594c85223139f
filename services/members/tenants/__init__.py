"""Tenants and their own settings. The row also counts the seats: whoever changes these holds its lock."""
