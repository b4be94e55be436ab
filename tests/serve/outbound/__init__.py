"""Tests of `serve.outbound`."""
