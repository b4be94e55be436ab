"""Tests of `serve.api`."""
