"""What bulk sweeps are measured with: crowds with known pairs in them, rivals, a society of rings;
and what sweeps are to show.
"""
