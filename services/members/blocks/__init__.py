"""Locks, deactivation, entry and expiry dates: each stops a member without ending what she is."""
