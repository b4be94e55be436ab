"""Callbacks on their way out: one worker, and how much each receiver gets at once."""

from serve.flows.delivery.worker import run_delivery

__all__ = ["run_delivery"]
