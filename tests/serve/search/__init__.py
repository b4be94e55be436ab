"""1:N search: who holds the index, and how it is asked."""
