"""From evidence to verdict, and the error rates that thresholds stand on. Pure."""
