"""Liveness over HTTP and over a WebSocket."""
