"""Seats: how many a tenant has, who holds one. Never more are given than there are, whatever the door."""
