"""Streams in the store: what ends them, and those that have lost their connection."""
