"""Commands about active liveness."""
