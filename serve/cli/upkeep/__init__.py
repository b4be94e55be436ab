"""Commands for whoever keeps an install: its keys, its backups."""
