"""Tests of `serve.processes`."""
