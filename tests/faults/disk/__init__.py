"""The service when the disk or the memory of its store is full, or its file is torn."""
