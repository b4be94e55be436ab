"""Verifications: created, read, reviewed, and done again with a reusable identity token."""
