"""Between the front doors and the engine's process: one Unix socket, one message per image."""
