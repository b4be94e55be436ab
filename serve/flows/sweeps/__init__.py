"""Bulk sweeps: asked for, planned, worked on tile by tile, ended, read, and kept in order."""
