"""Instances: readers and checks of annotation files, and the target that a record holds."""
