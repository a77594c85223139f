"""Marking deleted and restoring: the tenant's retention runs in between, and nothing is lost until it is over."""
