"""Bulk sweeps: their records, their work, and what is told of them."""
