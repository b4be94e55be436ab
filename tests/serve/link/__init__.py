"""The link between front doors and the engine."""
