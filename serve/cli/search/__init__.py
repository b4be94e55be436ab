"""Commands for 1:N search: who has a face, who holds the index, and how fast it is."""
