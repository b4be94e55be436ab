"""1:N face search. Empty until its first promise can be kept: see README, "What is not here yet"."""
