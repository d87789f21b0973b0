"""The same hands from frame to frame: `tracking` decides which is which and where to look next, `smoothing` calms."""
