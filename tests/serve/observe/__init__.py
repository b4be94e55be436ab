"""Tests of `serve.observe`."""
