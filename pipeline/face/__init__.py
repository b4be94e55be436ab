"""Faces: detect, fit a mesh, align, make templates, compare; liveness and age; in batches."""
