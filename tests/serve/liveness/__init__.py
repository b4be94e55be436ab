"""Challenges, clips, advisory liveness and age."""
