"""When a callback is tried again, and when its URL is given up."""
