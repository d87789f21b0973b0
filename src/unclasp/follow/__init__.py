"""Hands over video frames: `tracking` assigns identities and chooses the next crop, `smoothing` removes jitter."""
