"""Sweeps in Redis: their records, tiles and results, and the log of one gallery."""
