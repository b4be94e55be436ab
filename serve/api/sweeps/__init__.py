"""Bulk sweeps over HTTP: asked for, watched, and what they came to: pairs, rings, thresholds."""
