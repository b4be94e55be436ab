"""Redis: the system of record. One script for every change, one file for every noun."""
