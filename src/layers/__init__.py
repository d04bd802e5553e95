"""Network building blocks that both models use. They take explicit keyword arguments, never a config object."""
