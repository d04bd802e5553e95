"""Names of classes that mean the same in every tool. No MindSpore here."""
from __future__ import annotations


def is_background(name: str) -> bool:
    """Whether a class is called "background", "Background", "_background_" or the like."""
    return name.strip("_ ").lower() == "background"
