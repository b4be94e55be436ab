"""Faults of real processes under load, and the history that tells what they may not do."""
