"""What the door remembers of those who ask."""
