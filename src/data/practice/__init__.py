"""The practice set: generated pictures with exact masks, the same on every machine."""
