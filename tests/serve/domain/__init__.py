"""Tests of `serve.domain`."""
