"""Faults of the system of record: frozen, unreachable, killed, replaced, and its lost replies."""
