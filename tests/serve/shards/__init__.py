"""The index as shards on a real cluster."""
