"""Weights that others trained, both ways: file formats, names by family, loading with a report. Knows no model."""
