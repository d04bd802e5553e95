"""What the platforms that start jobs elsewhere tell a process, as one `Allocation`. Pure functions of the environment.

    platform     starts             and tells by
    ModelArts    a container, or    MA_NUM_HOSTS, MA_NUM_GPUS, VC_WORKER_HOSTS, VC_TASK_INDEX; its preset engines start
                 a rank             a process a card, with RANK_ID and ASCEND_DEVICE_ID
    AscendJob    a pod              MS_WORKER_NUM, MS_LOCAL_WORKER, MS_NODE_RANK, MS_SCHED_HOST (MindCluster)
    Volcano      a pod              VC_<TASK>_HOSTS, VC_TASK_INDEX, which counts within a task, HCCL_RANK
    Kubernetes   a pod              JOB_COMPLETION_INDEX of an indexed Job, with MS_WORKER_NUM and MS_SCHED_HOST
    Slurm        a task             SLURM_STEP_*, SLURM_NODEID, SLURM_PROCID, SLURM_LOCALID

Sources: the help pages of ModelArts (custom images, preset engines), github.com/Ascend/mind-cluster (ascend-operator),
volcano.sh (plugins svc, env, hcclrank), kubernetes.io (indexed Jobs), srun(1). Plain msrun sets MindSpore's own
variables and needs no translation.
"""
from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from src.contract import InputError

ASCEND_JOB_TABLE = "/user/serverid/devindex/config/hccl.json"
MOST_HOSTS = 1 << 16  # of a range in a list of hosts
INTERACTIVE_STEP = 0xfffffff0  # Slurm numbers the steps of batch scripts and interactive shells from here


@dataclass(frozen=True)
class Allocation:
    """This process's part of a job that a platform has started.

    Attributes:
        platform: its name.
        hosts: names or addresses of all hosts, rank 0's first; "" where only the platform itself knows one.
        index: which of the hosts this is.
        cards: ranks of a host; None where the platform does not say.
        rank, local_rank, world_size: of this process, where the platform starts a process a rank.
        table: file or folder of the platform's rank table.
        port: for the scheduler, where the platform gives or implies one.
        origins: {what: the variable that says so}.
    """

    platform: str
    hosts: tuple[str, ...] = ()
    index: int = 0
    cards: int | None = None
    rank: int | None = None
    local_rank: int = 0
    world_size: int | None = None
    table: str = ""
    port: int | None = None
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def hosts_origin(self) -> str:
        """The variables that say how many hosts there are."""
        return ", ".join(text for what, text in self.origins.items() if what.startswith(("hosts", "ranks", "cards")))


class _Variables:
    """Reads variables and notes which of them gave what."""

    def __init__(self, env: Mapping[str, str]):
        self.env = env
        self.origins: dict[str, str] = {}

    def has(self, *names: str) -> bool:
        return all(self.env.get(name) for name in names)

    def text(self, what: str, *names: str) -> str:
        """The first of the variables that is set, or ""."""
        for name in names:
            if self.env.get(name):
                self.origins[what] = f"{name}={self.env[name]}"
                return self.env[name]
        return ""

    def number(self, what: str, *names: str) -> int | None:
        text = self.text(what, *names)
        if text and not (text.isascii() and text.isdecimal() and len(text) <= 10):
            raise InputError(f"{self.origins[what]}: not a number 0, 1, 2, ...")
        return int(text) if text else None

    def names(self, what: str, *names: str) -> tuple[str, ...]:
        """The first of the variables that is set, a list with commas, without empty entries."""
        return tuple(filter(None, self.text(what, *names).split(",")))


def find_allocation(env: Mapping[str, str]) -> Allocation | None:
    """What the platform that started this process says; None where none is recognised.

    Raises:
        InputError: a platform's variables contradict each other or are no numbers.
    """
    for read in PLATFORMS:
        if found := read(_Variables(env)):
            if found.hosts and not found.index < len(found.hosts):
                raise InputError(f"{found.platform}: {found.origins.get('index', 'the index of this host')}, but there "
                                 f"are {len(found.hosts)} hosts ({found.hosts_origin})")
            return found
    return None


def model_arts(v: _Variables) -> Allocation | None:
    if not v.has("MA_NUM_HOSTS"):
        return None
    count = v.number("number of hosts", "MA_NUM_HOSTS")
    hosts = v.names("hosts", "VC_WORKER_HOSTS")
    if len(hosts) != count and count != 1:
        raise InputError(f"ModelArts: MA_NUM_HOSTS={count}, but VC_WORKER_HOSTS names {len(hosts)} hosts")
    if count == 1:
        hosts = (v.text("hosts", "MA_CURRENT_IP") or "127.0.0.1",)
    rank = v.number("rank", "RANK_ID") if v.has("ASCEND_DEVICE_ID") else None
    local = v.number("device", "ASCEND_DEVICE_ID")
    return Allocation("ModelArts", hosts, v.number("index", "VC_TASK_INDEX") or 0, v.number("cards", "MA_NUM_GPUS"),
                      rank=rank, local_rank=local or 0,
                      world_size=v.number("ranks", "RANK_SIZE") if local is not None else None,
                      table=v.text("rank table", "RANK_TABLE_FILE"), origins=v.origins)


def ascend_job(v: _Variables) -> Allocation | None:
    if not v.has("MS_WORKER_NUM", "MS_LOCAL_WORKER", "MS_NODE_RANK", "MS_SCHED_HOST"):
        return None
    return _by_node_rank(v, "AscendJob", "MS_NODE_RANK")


def kubernetes(v: _Variables) -> Allocation | None:
    if not v.has("JOB_COMPLETION_INDEX", "MS_WORKER_NUM", "MS_LOCAL_WORKER", "MS_SCHED_HOST"):
        return None
    return _by_node_rank(v, "Kubernetes", "JOB_COMPLETION_INDEX")


def _by_node_rank(v: _Variables, platform: str, index: str) -> Allocation:
    """Of the hosts only the first one's address is known; they have equally many ranks."""
    ranks, cards = v.number("ranks", "MS_WORKER_NUM"), v.number("cards", "MS_LOCAL_WORKER")
    if not cards:
        raise InputError(f"{platform}: MS_LOCAL_WORKER=0: this pod is for the scheduler alone, which the launcher "
                         "starts beside rank 0; give the scheduler's pod cards too, or start msrun there and elsewhere")
    if not ranks or ranks % cards:
        raise InputError(f"{platform}: MS_WORKER_NUM={ranks} is no multiple of MS_LOCAL_WORKER={cards}")
    hosts = (v.text("first host", "MS_SCHED_HOST"), *[""] * (ranks // cards - 1))
    table = v.text("rank table", "RANK_TABLE_FILE")
    if not table and platform == "AscendJob" and Path(ASCEND_JOB_TABLE).exists():
        table = v.origins["rank table"] = ASCEND_JOB_TABLE
    return Allocation(platform, hosts, v.number("index", index), cards, table=table,
                      port=v.number("port", "MS_SCHED_PORT"), origins=v.origins)


def volcano(v: _Variables) -> Allocation | None:
    """Tasks in the order of their pods: that with a master's name first, then by name."""
    found = {m[1]: name for name in v.env if (m := re.fullmatch(r"VC_(.+)_HOSTS", name)) and v.env[name]}
    if not found or not v.has("VC_TASK_INDEX"):
        return None
    leaders = ("MASTER", "LAUNCHER", "CHIEF", "SCHEDULER")
    tasks = sorted(found, key=lambda task: (task not in leaders, task))
    hosts = tuple(host for task in tasks for host in v.names(f"hosts of {task.lower()}", found[task]))
    own = v.text("own name", "HOSTNAME").split(".")[0]
    index = v.number("index", "HCCL_RANK")
    if index is None and own and own in (short := [host.split(".")[0] for host in hosts]):
        index, v.origins["index"] = short.index(own), v.origins["own name"]
    if index is None and len(tasks) == 1:
        index = v.number("index", "VC_TASK_INDEX")
    if index is None:
        raise InputError(f"Volcano: VC_TASK_INDEX counts within one of the tasks {', '.join(tasks)}, and "
                         f"HOSTNAME={own} is none of their hosts: turn on the plugin hcclrank, or export HCCL_RANK, "
                         "the number of this host from 0")
    return Allocation("Volcano", hosts, index, table=v.text("rank table", "RANK_TABLE_FILE"), origins=v.origins)


def slurm(v: _Variables) -> Allocation | None:
    """A step of srun; batch scripts and interactive shells, which nobody started as ranks, do not count."""
    step = v.number("step", "SLURM_STEP_ID")
    if step is None or step >= INTERACTIVE_STEP or v.has("SLURM_PTY_PORT"):
        return None
    hosts = expand_hosts(v.text("hosts", "SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST"))
    ranks = v.number("ranks", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")
    if not hosts or not ranks:
        missing = "SLURM_STEP_NUM_TASKS" if hosts else "SLURM_STEP_NODELIST"
        raise InputError(f"Slurm: SLURM_STEP_ID={step}, but {missing} is not set: start this with srun, or unset "
                         "SLURM_STEP_ID")
    job = v.number("port", "SLURM_JOB_ID")
    one_each = ranks == len(hosts)
    return Allocation("Slurm", hosts, v.number("index", "SLURM_NODEID") or 0,
                      None if one_each else ranks // len(hosts), rank=v.number("rank", "SLURM_PROCID"),
                      local_rank=v.number("local rank", "SLURM_LOCALID") or 0, world_size=ranks,
                      table=v.text("rank table", "RANK_TABLE_FILE"),
                      port=20000 + 2 * ((job or 0) % 5000), origins=v.origins)


def expand_hosts(text: str) -> tuple[str, ...]:
    """('a1', 'a2', 'b07') for Slurm's 'a[1-2],b07'; several brackets multiply, leading zeros stay.

    Raises:
        InputError: no such list.
    """
    if text.count("[") != text.count("]"):
        raise InputError(f"Slurm's list of hosts: {text[:80]!r} has brackets without a partner")
    hosts: list[str] = []
    for entry in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", text):
        parts = [_bracket(part[1:-1]) if part.startswith("[") else [part]
                 for part in re.findall(r"\[[^\]]*\]|[^\[]+", entry)]
        hosts += ["".join(words) for words in itertools.product(*parts)]
    return tuple(hosts)


def _bracket(text: str) -> list[str]:
    numbers = []
    for span in text.split(","):
        if not (found := re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", span)):
            raise InputError(f"Slurm's list of hosts: [{text}] is no list of numbers such as [1-3,07]")
        first, last = int(found[1]), int(found[2] or found[1])
        if not 0 <= last - first < MOST_HOSTS:
            raise InputError(f"Slurm's list of hosts: [{text}] goes from {first} to {last}, which is no range of up to "
                             f"{MOST_HOSTS} hosts")
        numbers += [f"{n:0{len(found[1])}d}" for n in range(first, last + 1)]
    return numbers


PLATFORMS: tuple[Callable[[_Variables], Allocation | None], ...] = (model_arts, ascend_job, kubernetes, volcano, slurm)
