"""Tests of `serve.store`."""
