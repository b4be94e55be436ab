"""What 1:N search keeps in Redis beside the log of faces: what is owed, and who holds the index."""
