"""Side-by-side timings against public peers; each prints a ratio with its spread."""
