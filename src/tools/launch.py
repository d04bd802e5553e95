"""Start, watch and stop this host's ranks of a job: `python launch.py [options] train.py --is_distributed ...`.

The rank table (--rank_table or RANK_TABLE_FILE) decides everything: world size, this host's ranks and devices, where
they meet. The same line on every host starts the whole job. Without a table, the hosts come from ModelArts,
MindCluster, Volcano, Kubernetes or Slurm; or DEVICE_TARGET=CPU WORKERS=4, or RANK_SIZE and RANK_START_ID, describe
ranks on this host only. --dry_run shows where each value comes from. The command begins at the first word that ends in
.py. The launcher's flags may also be given among those of the project's entry scripts; --device_target counts for both.
"""
from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

if __name__ == "__main__":  # works from any folder, as a file too
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src import tasks
from src.command_line import Parser, add_flag, entry_point, nearest, number_in
from src.contract import InputError
from src.doctor import checks
from src.doctor.finding import OK
from src.doctor.host import Host
from src.engine.settings import Settings
from src.launch.job import build_job
from src.launch.launcher import DEFAULT_PORT, choose_port, launch
from src.launch.plan import Job, describe, make_plan, next_number

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
DATA = ("data_file", "data_lst", "coco_root", "anno_path")  # keys that name what is trained on
SHARED = ("dry_run", "max_restarts", "bind_core", "server", "port", "grace", "native_rank_table",
          "start_timeout", "compile_timeout")


def build_parser() -> Parser:
    env = os.environ
    parser = Parser(prog="launch.py", usage="launch.py [options] SCRIPT.py [its flags]",
                    description=__doc__.splitlines()[0])
    add_flag(parser, "rank_table", env.get("RANK_TABLE_FILE", ""), "the rank table; RANK_TABLE_FILE", metavar="FILE")
    add_flag(parser, "device_target", env.get("DEVICE_TARGET", "Ascend"), "what the ranks run on, Ascend or CPU; "
             "DEVICE_TARGET")
    add_flag(parser, "workers", None, "ranks on this host, without a table; WORKERS, RANK_SIZE or DEVICE_NUM",
             type=number_in(int, 1))
    add_flag(parser, "first_device", None, "device of the first rank, without a table; RANK_START_ID",
             type=number_in(int, 0))
    add_flag(parser, "server", "", "which entry of the table this host is, where its addresses do not tell")
    add_flag(parser, "port", env.get("MS_SCHED_PORT") or None, "port of the scheduler, the launchers of several hosts "
             f"talk on the next one; a free one for one host, {DEFAULT_PORT} for several; MS_SCHED_PORT",
             type=number_in(int, 1, 65534))
    add_flag(parser, "folder", "train_parallel{rank}{number}", "a rank's output folder: {rank} or {device}, {number}")
    add_flag(parser, "log_name", "log", "name of a rank's log in its folder")
    add_flag(parser, "start_timeout", 600, "seconds for all hosts to meet and all ranks to start",
             type=number_in(int, 1))
    add_flag(parser, "compile_timeout", 1800, "seconds that one rank may be behind another, as in compiling",
             type=number_in(int, 1))
    add_flag(parser, "grace", None, "seconds that ranks have after SIGTERM or Ctrl-C before they are killed; 60, and "
             "25 in a pod or as process 1", type=number_in(float, 0))
    parser.add_argument("--bind_core", nargs="?", const="auto", default="default", metavar="CORES|False",
                        help='bind ranks to cores: bare for equal shares, "0-3;4-7", or False; by default equal shares '
                        "where they are two cores or more")
    add_flag(parser, "native_rank_table", False, "leave the rank table to MindSpore and HCCL, which forces the jit "
             "level O2, instead of starting a dynamic cluster from it")
    add_flag(parser, "max_restarts", 0, "how often a failed job is started again, with --resume",
             type=number_in(int, 0))
    add_flag(parser, "dry_run", False, "print the plan and stop")
    return parser


def split_words(words: list[str]) -> tuple[list[str], list[str]]:
    """(the launcher's options, the command): the command begins at the first word that ends in .py.

    Raises:
        InputError: there is none.
    """
    start = next((i for i, word in enumerate(words) if word.endswith(".py") and not word.startswith("-")), None)
    if start is None and "--help" not in words and "-h" not in words:
        raise InputError("no script to launch: expected launch.py [options] train.py [its flags]")
    return words[:start], words[start:] if start is not None else []


def sort_flags(options: list[str], words: list[str]) -> tuple[list[str], list[str]]:
    """For an entry script of the project: (options with the launcher's flags from among its words, words without them).

    A --device_target that is given to one of the two holds for both.
    """
    if Path(find_command(words)[1]).parent != ROOT:
        return options, words
    ours, theirs = [], []
    for before, word in zip(["", *words], words):
        value_of_ours = not word.startswith("-") and before.startswith("--") and before[2:] in SHARED
        (ours if value_of_ours or _is_shared(word) else theirs).append(word)
    words = theirs
    options = [*options, *ours]
    told = [word.partition("=")[2] or following for word, following in zip(words, [*words[1:], ""])
            if word.partition("=")[0] == "--device_target"]
    if told:
        return [*options, f"--device_target={told[-1]}"], words
    return options, [*words, f"--device_target={build_parser().parse_args(options).device_target}"]


def _is_shared(word: str) -> bool:
    return word.startswith("--") and word[2:].partition("=")[0] in SHARED


def check_flags(words: list[str]) -> Settings | None:
    """Read train.py's own flags here too, before processes are started and folders made for a mistyped one.

    None for another script.

    Raises:
        InputError: an unknown flag whose nearest known flag is one of the launcher's.
    """
    if Path(find_command(words)[1]) != ROOT / "train.py":
        return None
    classes = {tasks.config_class(model) for model in tasks.MODELS}
    theirs = {"--config", "--help", *(f"--{name}" for cls in classes for name in cls.spellings())}
    for name in (word.partition("=")[0] for word in words[1:] if word.startswith("--")):
        hint = nearest(name, [*theirs, *(f"--{ours}" for ours in SHARED)])
        if name not in theirs and hint != nearest(name, theirs):
            raise InputError(f"unknown flag {name}{hint}")
    settings = tasks.parse_settings(words[1:], program="train.py", groups=("train",))
    check_data(settings)
    return settings


def with_compile_cache(words: list[str]) -> list[str]:
    """A command of train.py that keeps its compiled graphs for restarts, unless it says where itself."""
    is_train = Path(find_command(words)[1]) == ROOT / "train.py"
    given = any(word.partition("=")[0] == "--compile_cache" for word in words)
    return words if given or not is_train else [*words, "--compile_cache=auto"]


def check_data(settings) -> None:
    """Refuse a job without data here, not in every rank.

    Raises:
        InputError: none of the keys that name training data is set.
    """
    keys = [key for key in DATA if hasattr(settings, key)]
    if not settings.replay and not any(getattr(settings, key) for key in keys):
        variables = ", ".join(f"{key.upper()}=..." for key in keys if key != "anno_path")
        raise InputError(f"training data is missing: give {' or '.join(f'--{key}' for key in keys)}"
                         f" (run_distribute_train.sh: {variables} too)")


def find_command(words: list[str]) -> tuple[str, ...]:
    """The command of a rank: this Python and the script, in the current folder or in the project's."""
    for path in (Path(words[0]), ROOT / words[0]):
        if path.is_file():
            return sys.executable, str(path.resolve()), *words[1:]
    raise InputError(f"{words[0]}: no such script, neither in {Path.cwd()} nor in {ROOT}")


def check_host(job: Job) -> None:
    """Log what the doctor's quick checks find wrong. The job starts all the same: a rank that cannot run ends it with
    its own error, and these lines say why."""
    for finding in checks.quick(Host(), device_target=job.device_target, ranks=len(job.server.devices)):
        if finding.level != OK:
            log.warning("%s", finding)


def main() -> int:
    options, words = split_words(sys.argv[1:])
    options, words = sort_flags(options, words) if words else (options, words)
    args = build_parser().parse_args(options)
    words = with_compile_cache(words) if args.max_restarts and words else words
    job = build_job(args, find_command(words), os.environ)
    settings = check_flags(words)
    if args.dry_run:
        print(describe(make_plan(job, port=args.port or choose_port(job), number=next_number(job))))
        return 0
    if settings and len(job.table.servers) == 1:  # several hosts hear from a rank that it ended
        tasks.check_training(settings.model_copy(update={"compile_cache": ""}))  # each rank has its own
    check_host(job)
    return launch(job, port=args.port, start_timeout=args.start_timeout, max_restarts=args.max_restarts)


if __name__ == "__main__":
    entry_point(main)
