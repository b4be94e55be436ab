"""Streams of frames: the protocol, the front door's end of it, and what ends them."""
