"""Commands for bulk sweeps: who is alike among all, at what threshold, and how fast it is."""
