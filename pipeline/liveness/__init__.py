"""Active liveness: what a clip of frames shows, whether it is what was asked for, and of a person."""
