"""Evaluators: accumulate, merge, compute -> dict of numbers. They print nothing."""
