"""Time two programs in alternating rounds A B A B ...: medians, spread, and the ratio of each round.

Each program is a worker that prepares itself, says `ready`, and then does one unit of work for every line that it
reads, answering with the seconds that it took. So compilation and warm-up happen once, both programs see the same
machine, and a slow period of the machine affects both. Where other programs keep the cores busy, the ratio of CPU times
says more than that of seconds: a program that waits at barriers for its threads suffers more from them. Set
OMP_WAIT_POLICY=passive then, so that waiting threads count nothing.
"""
from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence


def serve(work: Callable[[], object], **facts: float) -> None:
    """The worker: say `ready` with `facts`, then run `work` once for every line on standard input.

    A line `kernels FOLDER` runs it under MindSpore's profiler, which writes into the folder.
    """
    print("ready " + json.dumps(facts), flush=True)
    for line in sys.stdin:
        if line.startswith("kernels "):
            print("profiling", flush=True)
            _profiled(work, line.split(" ", 1)[1].strip())
            continue
        started = time.perf_counter()
        work()
        print(f"took {time.perf_counter() - started}", flush=True)


def _profiled(work: Callable[[], object], folder: str) -> None:
    from mindspore.profiler import ProfilerActivity, profile, tensorboard_trace_handler

    profiler = profile(activities=[ProfilerActivity.CPU], on_trace_ready=tensorboard_trace_handler(folder),
                       start_profile=False)
    profiler.start()
    work()
    profiler.stop()


class Worker:
    """A worker process of the driver.

    Attributes:
        cpu: seconds of CPU time that the process and its children have taken so far.
    """

    def __init__(self, name: str, command: Sequence[str], environment: dict[str, str] | None = None):
        self.name = name
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        stderr=subprocess.DEVNULL, env=os.environ | (environment or {}))
        self.facts = json.loads(self._answer("ready"))

    def once(self) -> float:
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return float(self._answer("took"))

    @property
    def cpu(self) -> float:
        import psutil  # the peer's environment, which runs `serve`, has none

        process = psutil.Process(self.process.pid)
        return sum(sum(one.cpu_times()[:4]) for one in (process, *process.children(recursive=True)))

    def _answer(self, word: str) -> str:
        for line in self.process.stdout:
            if line.startswith(word + " "):
                return line[len(word) + 1:]
        raise SystemExit(f"{self.name} ended with status {self.process.wait()} before it answered; run "
                         f"`{' '.join(self.process.args)}` by hand to see why")

    def stop(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def compare_workers(names: tuple[str, str], rounds: int) -> dict:
    """`compare` two workers that are the program at hand, with its own flags and `--worker=NAME`."""
    workers = [Worker(name, [sys.executable, *sys.argv, f"--worker={name}"]) for name in names]
    result = compare(*workers, rounds)
    for worker in workers:
        worker.stop()
    return result


def compare(ours: Worker, peer: Worker, rounds: int) -> dict:
    """Run the rounds (after one that is not counted) and return medians, spreads and the ratio ours / peer."""
    times: dict[str, list[float]] = {ours.name: [], peer.name: []}
    cpu: dict[str, list[float]] = {ours.name: [], peer.name: []}
    for i in range(rounds + 1):
        for worker in (ours, peer):
            before, seconds = worker.cpu, worker.once()
            if i:
                times[worker.name].append(seconds)
                cpu[worker.name].append(worker.cpu - before)
    ratios, cpu_ratios = ([a / b for a, b in zip(taken[ours.name], taken[peer.name])] for taken in (times, cpu))
    result = {name: _summary(values) for name, values in times.items()}
    return result | {"ratio": _summary(ratios), "CPU ratio": _summary(cpu_ratios),
                     "facts": {w.name: w.facts for w in (ours, peer)}}


def _summary(values: list[float]) -> dict:
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "runs": len(values)}


def show(title: str, result: dict) -> None:
    """Print a comparison, with machine and date."""
    print(f"{title}   [{os.cpu_count()} cores, {platform.machine()}, {datetime.date.today()}]")
    for name, row in result.items():
        if name == "facts":
            continue
        unit = "" if name.endswith("ratio") else " s"
        print(f"  {name:<12} median {row['median']:.3f}{unit}  ({row['min']:.3f} to {row['max']:.3f}, "
              f"{row['runs']} runs)")
    for name, facts in result["facts"].items():
        print(f"  {name:<12} " + ", ".join(f"{k} {v:.1f}" for k, v in facts.items()))
