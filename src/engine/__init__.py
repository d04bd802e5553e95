"""Training: from a network and batches to a checkpoint (runtime, schedules, step, loop, checkpoints)."""
