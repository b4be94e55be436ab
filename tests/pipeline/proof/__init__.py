"""Proof on real weights and real photos: parity with the originals, and who is found to be whom."""
