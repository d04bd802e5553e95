"""What turns a network and batches into a trained checkpoint: runtime, schedules, step, loop, checkpoints, weights."""
