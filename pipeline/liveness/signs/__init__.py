"""What the frames of a clip show together: depth, motion, time, repeats, light."""
