"""Streams while things break."""
