"""Bulk sweeps: every pair of a tenant's faces that is alike, thresholds from them, and rings."""
