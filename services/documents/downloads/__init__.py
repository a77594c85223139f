"""Bytes to people who may see them at that moment: always an attachment, never something a browser would show."""
