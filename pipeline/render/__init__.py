"""Moving heads out of still photos: synthetic clips to test with, never evidence of anything."""
