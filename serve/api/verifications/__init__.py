"""Verifications over HTTP, names exact as the seed they come from."""
