"""A rank that exchanges objects, errors, flags and overflows with the others, and prints what it got."""
import time

import mindspore as ms
import numpy as np

from src.command_line import entry_point
from src.contract import InputError
from src.engine import runtime
from tests.engine.saturating import saturating_step


def main() -> None:
    machine = runtime.start("CPU", is_distributed=True)
    exchange_objects(machine)
    exchange_flags(machine)
    exchange_overflows(machine)


def exchange_objects(machine: runtime.Runtime) -> None:
    found = machine.gather(bytes([machine.rank + 1]) * (2 ** 24 + 1 + machine.rank))
    print([(len(part), part[0], part[-1]) for part in found])
    print("first:", machine.gather_on_first(machine.rank), machine.run_on_first(lambda: f"by rank {machine.rank}"))

    def fails():
        raise InputError(f"of rank {machine.rank}")

    try:
        machine.run_on_first(fails)
    except InputError as error:
        print("error", error)


def exchange_flags(machine: runtime.Runtime) -> None:
    machine.any(False)
    begun = time.monotonic()
    flags = [machine.any(step == 3 and machine.rank == 1) for step in range(5)]
    print(flags, "fast" if time.monotonic() - begun < 0.5 else "slow")


def exchange_overflows(machine: runtime.Runtime) -> None:
    step, outcomes = saturating_step(world_size=2), []
    for overflowing in (1, None):
        x = [1000, 0] if machine.rank == overflowing else [1, 1]
        *_, applied, finite, _, _ = step(ms.Tensor(np.array([x], np.float32)), ms.Tensor(np.ones(1, np.float32)))
        outcomes.append((bool(finite), bool(applied), *map(float, step.weights[0].asnumpy().round(3))))
    print("outcomes", [(*o[:2], *map("{:.1f}".format, o[2:])) for o in outcomes])


entry_point(main)
