"""Sweeps in Redis: records, tiles, reports, and the log of one gallery."""
