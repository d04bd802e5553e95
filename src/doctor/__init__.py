"""Checks of a host before a job: what is installed, what the machine has, and whether it fits the job."""
