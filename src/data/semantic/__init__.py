"""Label maps: readers of lists and of the layouts that they come in."""
