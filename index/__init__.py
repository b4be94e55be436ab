"""1:N face search. Empty until it can keep a promise: see README, "Limits"."""
