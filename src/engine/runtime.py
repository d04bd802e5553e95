"""Device, rank, seed and environment. No other module asks which machine it runs on."""
from __future__ import annotations

import logging
import os
import pickle
import platform
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import psutil

from src.compile_cache import cache as graphs
from src.compile_cache import private
from src.contract import InputError
from src.engine import collectives
from src.files import user_cache
from src.launch.job import read_number
from src.launch.join import join_cluster
from src.layers import product_noise

log = logging.getLogger(__name__)
INSTRUCTION_SETS = ("avx512f", "avx2", "avx", "sse4_1", "sve2", "sve", "asimd")  # the widest first


@dataclass(frozen=True)
class Runtime:
    """The device and rank of this process: `rank` of `world_size` processes; a single process is rank 0 of 1."""

    device_target: str
    rank: int = 0
    world_size: int = 1

    @property
    def data_sink(self) -> bool:
        """Whether the device runs chunks of steps without the host."""
        return self.device_target == "Ascend"

    def check_noise(self) -> None:
        """Raise InputError unless this device computes a run's noise as NumPy does. A CPU is what NumPy runs on."""
        if self.device_target != "CPU":
            product_noise.check_device()

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true on any rank. A collective, as all methods here: every rank has to call it."""
        return flag if self.world_size == 1 else bool(collectives.all_sum(np.array([flag]))[0])

    def gather(self, thing: Any) -> list:
        """The values (picklable) of all ranks, in the order of the ranks, on every rank."""
        return self._gather(thing, keep=True)

    def gather_on_first(self, thing: Any) -> list:
        """`gather` on rank 0 alone; an empty list elsewhere."""
        return self._gather(thing, keep=self.rank == 0)

    def _gather(self, thing: Any, *, keep: bool) -> list:
        if self.world_size == 1:
            return [thing]
        return list(map(pickle.loads, collectives.gather_bytes(pickle.dumps(thing), keep=keep)))

    def run_on_first(self, function: Callable[[], Any]) -> Any:
        """Call `function` on rank 0 alone and return its result (picklable), or raise its InputError, on every rank."""
        if self.world_size == 1:
            return function()
        outcome = None
        if self.rank == 0:
            try:
                outcome = function()
            except InputError as error:
                outcome = error
        outcome = self.gather(outcome)[0]
        if isinstance(outcome, InputError):
            raise outcome
        return outcome

    def agree(self, values: Mapping[str, Any]) -> None:
        """Raise InputError unless all ranks pass the same values; the message names the differences."""
        ranks = self.gather(dict(values))
        differing = [f"{name}={ranks[0].get(name)!r} on rank 0, {name}={other.get(name)!r} on rank {rank}"
                     for name in values for rank, other in enumerate(ranks) if other.get(name) != ranks[0].get(name)]
        if differing:
            raise InputError(f"the ranks differ: {'; '.join(differing[:5])}. Start every host with the same flags, on "
                             "the same data and a folder that all of them see")


def start(device_target: str, *, device_id: int = 0, is_distributed: bool = False, seed: int = 1,
          deterministic: bool = True, jit_level: str = "auto", compile_cache: str = "",
          configuration: Mapping[str, Any] | None = None) -> Runtime:
    """Set graph mode, device, jit level and seed, join the other ranks where there are any.

    Args:
        compile_cache: folder of compiled graphs, "auto" for the user's, "" for none.
        configuration: what graphs are built from, for the compile cache.
        deterministic: operators and collectives of a device give the same bits in every run; a CPU's always do.
        jit_level: "O0", "O1", "O2" or "auto" (`jit_level_of` the chip).

    Raises:
        InputError: this machine or this MindSpore has no such device, DEVICE_ID is no number, or no launcher set up
            the ranks.
    """
    ms.set_context(mode=ms.GRAPH_MODE)
    _refuse_other_cache()
    if compile_cache:
        private.claim()
    if is_distributed and (line := join_cluster(os.environ, device_target)):
        log.info("%s", line)
    _set_device(device_target, read_number("DEVICE_ID", os.environ, 0) if os.environ.get("DEVICE_ID") else device_id)
    if deterministic and device_target != "CPU":
        _set_deterministic()
    _set_jit_level(device_target, jit_level)  # asks for the chip, which may start the device
    ms.set_seed(seed)
    machine = _join(device_target) if is_distributed else Runtime(device_target)
    if compile_cache:
        _start_cache(compile_cache, configuration or {}, machine, deterministic)
    return machine


def _start_cache(folder: str, configuration: Mapping[str, Any], machine: Runtime, deterministic: bool) -> None:
    if machine.device_target != "CPU" and not deterministic:
        log.warning("--compile_cache: not used with --deterministic=False, as cached graphs are checked bit by bit")
        return
    try:
        path = user_cache() / "compiled" if folder == "auto" else Path(folder)
    except RuntimeError as error:  # there is no home folder
        log.warning("--compile_cache=auto: not used (%s); name a folder", error)
        return
    device = {"device_target": machine.device_target, "chip": chip_name() if machine.device_target != "CPU" else ""}
    graphs.activate(path, {**configuration, **device}, ranks=(machine.rank, machine.world_size))


def _refuse_other_cache() -> None:
    if os.environ.pop("MS_COMPILER_CACHE_ENABLE", "") == "1":
        log.warning("MS_COMPILER_CACHE_ENABLE=1 is ignored: MindSpore's own check of its cache looks at source files, "
                    "so that other settings get the graphs of earlier ones; use --compile_cache=FOLDER")


def _set_deterministic() -> None:
    """To be called before the ranks join: it sets HCCL_DETERMINISTIC, which HCCL reads once, when it starts."""
    try:
        ms.set_deterministic(True)
    except RuntimeError as error:
        if "repeatedly" not in str(error):  # a second model in one program
            raise


def _set_device(device_target: str, device_id: int) -> None:
    try:
        ms.set_device(device_target, device_id)
    except (RuntimeError, ValueError) as error:
        if "has been initialized" in str(error) and ms.get_context("device_target") == device_target:
            return  # the process runs there already: a second model in one program
        reason = str(error).split(". Please")[0].splitlines()[0]
        raise InputError(f"--device_target={device_target}: {reason}. On a machine without it use --device_target=CPU"
                         ) from error


def jit_level_of(chip: str) -> str:
    """The level that "auto" means on an Ascend chip: O2, the graph engine, only where nothing else exists, on 910.

    The names of 910B/A2 end in B1 to B4, those of A3 begin with Ascend910_93; the first 910 has others.
    "" for a chip whose name is "".
    """
    if not chip:
        return ""
    return "O2" if is_first_910(chip) else "O0"


def is_first_910(chip: str) -> bool:
    """Whether a chip's name is one of the first generation, without an A2 or A3 after it."""
    return bool(re.match(r"Ascend910(?!B\d|_93)", chip))


def refuse_missing_gradients(norm: str, chip: str) -> None:
    """Raise InputError where a chip cannot train with a kind of normalisation.

    The first Ascend 910 has no GroupNormGrad, neither on its AI Core nor on its AI CPU (CANN 8.1's operator tables).
    """
    if norm == "group" and is_first_910(chip):
        raise InputError(f"--norm=group: {chip} has no gradient of group normalisation; train with --norm=batch, with "
                         "--norm=sync on several devices, or from loaded weights with --norm=frozen")


def _set_jit_level(device_target: str, level: str) -> None:
    """Set and print how graphs are compiled on Ascend; a CPU has one way."""
    if device_target != "Ascend":
        return
    if os.environ.get("NATIVE_RANK_TABLE"):
        if level in ("O0", "O1"):
            raise InputError(f"--jit_level={level}: a rank table that is MindSpore's own affair (--native_rank_table, "
                             "NATIVE_RANK_TABLE) forces O2; leave one of them out")
        log.info("jit level O2, forced by the rank table")
        return
    chip = chip_name() if level == "auto" else ""
    chosen = jit_level_of(chip) if level == "auto" else level
    if not chosen:
        log.info("jit level left to MindSpore (--jit_level=auto; the chip's name is not known)")
        return
    # For every graph of the process. What 2.10 offers instead (ms.jit, Cell.set_jit_config) is set a graph at a time.
    ms.set_context(jit_config={"jit_level": chosen})
    log.info("jit level %s (--jit_level=%s%s)", chosen, level, f" on {chip}" if chip else "")


def chip_name() -> str:
    """"Ascend910B4" or the like; "" where MindSpore does not tell."""
    try:
        return ms.hal.get_device_name(int(os.environ.get("DEVICE_ID") or 0))
    except (AttributeError, RuntimeError, ValueError) as error:  # the call is to go in a later version
        log.debug("no chip's name: %s", error)
        return ""


def _join(device_target: str) -> Runtime:
    from mindspore.communication import get_group_size, get_rank, init

    if "LAUNCH_STARTED_FILE" in os.environ:  # tells the launcher that this rank has come as far as joining
        Path(os.environ["LAUNCH_STARTED_FILE"]).touch()
    init()
    # Called deprecated in 2.10 in favour of AutoParallel, which has no data parallelism.
    ms.set_auto_parallel_context(parallel_mode=ms.ParallelMode.DATA_PARALLEL, gradients_mean=True)
    return Runtime(device_target, get_rank(), get_group_size())


def machine_of_rank(cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, Any]:
    """What a run's exact results depend on besides its settings: version, instruction set, number of cores."""
    try:
        flags = set(re.search(r"^(?:flags|Features)\s*: (.*)", cpuinfo.read_text(), re.M)[1].split())
    except (OSError, TypeError):  # TypeError: there is no such line
        flags = set()
    best = next((name for name in INSTRUCTION_SETS if name in flags), "unknown")
    return {"mindspore": ms.__version__, "processor": platform.machine(), "instruction_set": best,
            "ONEDNN_MAX_CPU_ISA": os.environ.get("ONEDNN_MAX_CPU_ISA", ""),
            "usable_cores": len(os.sched_getaffinity(0)), "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "")}


def check_memory(needed: int, device_target: str, advice: str) -> None:
    """Refuse settings whose training step does not fit into this machine's memory, before anything is compiled.

    Args:
        needed: estimated bytes of one step.
        advice: the flags to lower, with their values.

    Raises:
        InputError: on a CPU, more than what is available. A device's own memory is not known beforehand.
    """
    available = psutil.virtual_memory().available
    if device_target == "CPU" and needed > available:
        raise InputError(f"a training step needs about {needed / 2**30:.1f} GiB of memory, {available / 2**30:.1f} GiB "
                         f"are free; lower {advice}")
