"""Saving a run at its boundaries, and going on from there."""
