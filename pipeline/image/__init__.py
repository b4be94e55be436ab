"""Pixels: the gate for untrusted image bytes, decoding, geometry, quality and feedback."""
