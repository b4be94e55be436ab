"""Use cases of 1:N search: who has this face, who is blocked, and what became of duplicates."""
