"""Plots for people. Drawing to bytes, without any global state; the only place of matplotlib."""
