"""Challenges drawn, clips judged, streams followed."""
