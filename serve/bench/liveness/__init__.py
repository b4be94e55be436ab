"""Presentation attacks on active liveness, and performances rendered of the same photos."""
