"""Rank tables and the supervisor that starts, watches and stops the ranks of this host. Imports no MindSpore."""
