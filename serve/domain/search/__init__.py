"""Rules of 1:N search: galleries, duplicate flags, and what is screened."""
