"""The processes of a running service: supervisor, front doors, workers, and their stop."""
