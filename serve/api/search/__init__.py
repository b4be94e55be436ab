"""1:N search over HTTP: searches, the blocklist, duplicates."""
