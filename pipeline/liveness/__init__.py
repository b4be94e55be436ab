"""Active liveness: whether a clip shows what was asked for, done by a person."""
