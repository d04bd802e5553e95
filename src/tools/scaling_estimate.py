"""Estimate step time and efficiency of data parallel training on many cards from measurements on one.

    python src/tools/scaling_estimate.py --step_ms=518 --batch_size=32 --gradient_mb=237 --link_gbps=100

This is a simulation, not a measurement: it evaluates `FORMULA`, which is printed with the table.
"""
from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":  # works from any folder, as a file too
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src.command_line import Parser, add_flag, entry_point
from src.contract import InputError

FORMULA = """\
allreduce(n) = 2 (n-1)/n gradient / link + 2 (n-1) latency          ring: every card sends 2 (n-1) pieces of 1/n
compute(n)   = step + spread sqrt(2 ln n)                           all wait for the slowest of n
data(n)      = batch min(n, cards per host) / data rate of a host   the cards of a host share its readers
time(n)      = max(compute(n) + (1 - overlap) allreduce(n), data(n))
efficiency   = time(1) / time(n)"""


@dataclass(frozen=True)
class Measured:
    """Measurements on one card and its host.

    Attributes:
        step: seconds of one step on one card, without communication.
        spread: standard deviation of `step` in seconds.
        batch: samples per card and step.
        gradient: bytes that are reduced in a step.
        link: bytes per second of a card's network port, in one direction.
        latency: seconds per message.
        data_rate: samples per second that one host reads and augments; 0 for no limit.
        cards_per_host: cards that share a host.
        overlap: fraction of the communication that runs during the backward pass, 0 to 1.
    """

    step: float
    batch: float
    gradient: float
    link: float
    spread: float = 0.0
    latency: float = 0.0
    data_rate: float = 0.0
    cards_per_host: int = 8
    overlap: float = 0.0


@dataclass(frozen=True)
class Estimate:
    """One row: seconds of each part and of a step on `cards` cards, total samples per second, and the bottleneck."""

    cards: int
    compute: float
    allreduce: float
    data: float
    time: float
    rate: float
    efficiency: float
    limit: str


def ring_seconds(cards: int, measured: Measured) -> float:
    """Seconds of a ring all-reduce of the gradients."""
    return 2 * (cards - 1) / cards * measured.gradient / measured.link + 2 * (cards - 1) * measured.latency


def estimate(cards: int, measured: Measured) -> Estimate:
    """The expectation for `cards` cards; see FORMULA."""
    def parts(n: int) -> tuple[float, float, float]:
        compute = measured.step + measured.spread * math.sqrt(2 * math.log(n))
        feeding = measured.batch * min(n, measured.cards_per_host) / measured.data_rate if measured.data_rate else 0.0
        return compute, ring_seconds(n, measured), feeding

    def total(n: int) -> float:
        compute, allreduce, feeding = parts(n)
        return max(compute + (1 - measured.overlap) * allreduce, feeding)

    compute, allreduce, feeding = parts(cards)
    time = total(cards)
    exposed = (1 - measured.overlap) * allreduce
    limit = "data" if time == feeding else "communication" if exposed > compute else "compute"
    return Estimate(cards, compute, allreduce, feeding, time, cards * measured.batch / time, total(1) / time, limit)


def parse_words():
    """The command line, checked."""
    parser = Parser(prog="scaling_estimate.py", description=__doc__.splitlines()[0])
    for name, text in (("step_ms", "milliseconds of a step on one card"), ("batch_size", "samples a card and step"),
                       ("gradient_mb", "megabytes of gradients: 4 bytes a trainable parameter, 2 in float16"),
                       ("link_gbps", "gigabits a second of a card's network port")):
        parser.add_argument(f"--{name}", type=float, required=True, help=text)
    add_flag(parser, "step_spread_ms", 0.0, "standard deviation of step_ms")
    add_flag(parser, "latency_us", 5.0, "microseconds of one message between neighbours")
    add_flag(parser, "data_rate", 0.0, "samples a second that one host reads and augments, 0 for no limit")
    add_flag(parser, "cards_per_host", 8, "cards that share a host's readers")
    add_flag(parser, "overlap", 0.0, "share of the communication hidden behind the backward pass, 0 to 1")
    parser.add_argument("--cards", type=int, nargs="+", default=[8, 64, 512, 4096], help="numbers of cards")
    args = parser.parse_args()
    for name in ("step_ms", "batch_size", "gradient_mb", "link_gbps", "cards_per_host"):
        if not 0 < getattr(args, name) < math.inf:
            raise InputError(f"--{name}={getattr(args, name):g}: must be above 0")
    limits = {"step_spread_ms": math.inf, "latency_us": math.inf, "data_rate": math.inf, "overlap": 1}
    for name, limit in limits.items():
        if not 0 <= getattr(args, name) <= limit:
            raise InputError(f"--{name}={getattr(args, name):g}: must be 0 to {limit:g}")
    if min(args.cards) < 1:
        raise InputError(f"--cards={min(args.cards)}: must be 1 or more")
    return args


def main() -> None:
    args = parse_words()
    measured = Measured(step=args.step_ms / 1e3, batch=args.batch_size, gradient=args.gradient_mb * 1e6,
                        link=args.link_gbps * 1e9 / 8, spread=args.step_spread_ms / 1e3,
                        latency=args.latency_us / 1e6, data_rate=args.data_rate,
                        cards_per_host=args.cards_per_host, overlap=args.overlap)
    print(FORMULA)
    titles = ("compute", "allreduce", "data", "step")
    print(f"\n{'cards':>6} {' '.join(f'{t:>9}' for t in titles)} {'samples/s':>10} {'efficiency':>10}  limit")
    for cards in args.cards:
        row = estimate(cards, measured)
        times = " ".join(f"{t * 1e3:6.1f} ms" for t in (row.compute, row.allreduce, row.data, row.time))
        print(f"{cards:6d} {times} {row.rate:10.0f} {row.efficiency:10.1%}  {row.limit}")


if __name__ == "__main__":
    entry_point(main)
