"""Evaluators: they accumulate, merge, and compute a dictionary of numbers. They print nothing."""
