"""What is done when nobody asks: what time does to records, step by step."""
