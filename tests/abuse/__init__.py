"""Clients that are slow, huge, many or malformed, against a real front door."""
