"""Pictures for people: overlays of predictions and truth, learning curves."""
