"""Predictions on disk: the format of results, its writer, and the scoring of such files."""
