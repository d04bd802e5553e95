"""What a user may ask of the bootstrap. No SciPy here: every start reads the flags."""
from __future__ import annotations

import argparse

from src.command_line import add_flag, number_in

SEED = 1
LEAST_SAMPLES, MOST_SAMPLES = 100, 100_000  # an interval of 95 % ends at quantiles of 2.5 %
TEXT = f"bootstrap samples of the images for the 95 % confidence intervals, {LEAST_SAMPLES} or more; 0: no intervals"


def enough_samples(count: int) -> int:
    """`count`, a number of bootstrap samples.

    Raises:
        ValueError: it is neither 0, for no intervals, nor enough for them.
    """
    if 0 < count < LEAST_SAMPLES:
        raise ValueError(f"too few samples for intervals of 95 %; give at least {LEAST_SAMPLES}, or 0 for no intervals")
    return count


def add_samples_flag(parser: argparse.ArgumentParser, default: int) -> None:
    """Add `--bootstrap` to a tool's parser."""
    def convert(text: str) -> int:
        try:
            return enough_samples(int(number_in(int, 0, MOST_SAMPLES)(text)))
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text}: {error}") from None

    add_flag(parser, "bootstrap", default, TEXT, type=convert)
