"""Thin command lines; the work is done in the packages that they call."""
