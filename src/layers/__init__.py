"""Building blocks of networks that both models use. Explicit keyword arguments, never a config object."""
