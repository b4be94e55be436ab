"""Rules for whoever keeps an install."""
