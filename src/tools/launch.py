"""Start, watch and stop this host's ranks of a job: `python launch.py [options] train.py --is_distributed ...`.

The rank table (--rank_table or RANK_TABLE_FILE) decides everything: world size, this host's ranks and devices, where
they meet. The same line on every host starts the whole job. Without a table, `DEVICE_TARGET=CPU WORKERS=4`, or
RANK_SIZE and RANK_START_ID, describe ranks on this host alone. The command begins at the first word that ends in .py.
Among the flags of the project's own entry scripts the launcher's may stand too, and --device_target counts for both.
"""
from __future__ import annotations

import os
import sys
from argparse import ArgumentTypeError
from collections.abc import Mapping
from pathlib import Path

if __name__ == "__main__":  # works from any folder, as a file too
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src import tasks
from src.config import Parser, add_flag, entry_point, nearest
from src.contract import InputError
from src.launch.environment import timeouts
from src.launch.launcher import DEFAULT_PORT, choose_port, launch
from src.launch.plan import Job, describe, divide_cores, make_plan, next_number
from src.launch.rank_table import MOST_RANKS, RankTable, Server, read, single_server, this_server
from src.tools.flag_types import number_in

ROOT = Path(__file__).resolve().parents[2]
SHARED = ("dry_run", "max_restarts", "bind_core", "server", "port", "grace", "start_timeout", "compile_timeout")


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
    add_flag(parser, "grace", 60.0, "seconds that ranks have after SIGTERM or Ctrl-C before they are killed",
             type=number_in(float, 0))
    parser.add_argument("--bind_core", nargs="?", const="auto", default="", metavar="CORES",
                        help='bind ranks to cores: bare for equal shares, or "0-3;4-7"')
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

    The device that the script is told is the launcher's, and the other way round.
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


def check_flags(words: list[str]) -> None:
    """Let train.py's own flags be read here too, before processes are started and folders made for a mistyped one.

    Raises:
        InputError: a flag that nobody has and to which one of the launcher's is the nearest.
    """
    if Path(find_command(words)[1]) != ROOT / "train.py":
        return
    classes = {tasks.config_class(model) for model in tasks.MODELS}
    theirs = {f"--{name}" for cls in classes for name in (*cls.derived, *cls.retired, "config", "help")}
    theirs |= {f"--{name}" for cls in classes for key, field in cls.model_fields.items()
               for name in (key, *field.json_schema_extra["aliases"])}
    for name in (word.partition("=")[0] for word in words[1:] if word.startswith("--")):
        hint = nearest(name, [*theirs, *(f"--{ours}" for ours in SHARED)])
        if name not in theirs and hint != nearest(name, theirs):
            raise InputError(f"unknown flag {name}{hint}")
    tasks.parse_settings(words[1:], program="train.py", groups=("train",))


def find_command(words: list[str]) -> tuple[str, ...]:
    """The command of a rank: this Python and the script, in the current folder or in the project's."""
    for path in (Path(words[0]), ROOT / words[0]):
        if path.is_file():
            return sys.executable, str(path.resolve()), *words[1:]
    raise InputError(f"{words[0]}: no such script, neither in {Path.cwd()} nor in {ROOT}")


def read_number(name: str, env: Mapping[str, str], least: int) -> int:
    """The number that an environment variable holds."""
    try:
        return number_in(int, least)(env[name])
    except ArgumentTypeError as error:
        raise InputError(f"{name}: {error}") from None


def find_table(args, env: Mapping[str, str]) -> tuple[RankTable, Server]:
    """The job's table, read or made up for this host alone, and this host's entry of it.

    Raises:
        InputError: no table and no number of ranks, or the two contradict each other.
    """
    counts = {name: read_number(name, env, 1) for name in ("WORKERS", "RANK_SIZE", "DEVICE_NUM") if env.get(name)}
    counts |= {"--workers": args.workers} if args.workers is not None else {}
    first = args.first_device
    if first is None and env.get("RANK_START_ID"):
        first = read_number("RANK_START_ID", env, 0)
    if args.rank_table:
        table = read(args.rank_table, device_target=args.device_target)
        server = this_server(table, args.server)
        for name, count in counts.items():
            if count not in (table.world_size, len(server.devices)):
                raise InputError(f"{name}={count}, but {table.path} has {table.world_size} ranks, "
                                 f"{len(server.devices)} of them on this host; unset {name}, or give another table")
        lowest = min(d.device_id for d in server.devices)
        if first not in (None, lowest):
            raise InputError(f"RANK_START_ID={first}, but the first device of this host in {table.path} is {lowest}; "
                             "unset RANK_START_ID, or give another table")
        return table, server
    if not counts:
        raise InputError("no rank table: give --rank_table=FILE (src/tools/get_multicards_json.py writes one), or the "
                         "number of ranks on this host, such as DEVICE_TARGET=CPU WORKERS=2")
    if len(set(counts.values())) > 1:
        raise InputError("contradicting numbers of ranks: " + ", ".join(f"{k}={v}" for k, v in counts.items()))
    (name, count), *_ = counts.items()
    if count > MOST_RANKS:
        raise InputError(f"{name}={count}: more than {MOST_RANKS} ranks on one host")
    table = single_server(count, first_device=first or 0)
    return table, table.master


def build_job(args, command: tuple[str, ...], env: Mapping[str, str]) -> Job:
    """What the command line and the environment ask for."""
    if args.device_target not in ("Ascend", "CPU"):
        raise InputError(f"DEVICE_TARGET={args.device_target}: expected Ascend or CPU")
    if "{number}" not in args.folder or not ("{rank}" in args.folder or "{device}" in args.folder):
        raise InputError(f"--folder={args.folder}: needs {{number}}, and {{rank}} or {{device}}, so that no two runs "
                         "or ranks write into one folder")
    table, server = find_table(args, env)
    cores = divide_cores(args.bind_core, len(server.devices), sorted(os.sched_getaffinity(0)))
    return Job(command=command, table=table, server=server, device_target=args.device_target, folder=args.folder,
               log_name=args.log_name, cores=cores, timeouts=timeouts(args.compile_timeout, args.start_timeout, env))


def main() -> int:
    options, words = split_words(sys.argv[1:])
    options, words = sort_flags(options, words) if words else (options, words)
    args = build_parser().parse_args(options)
    job = build_job(args, find_command(words), os.environ)
    check_flags(words)
    if args.dry_run:
        print(describe(make_plan(job, port=args.port or choose_port(job), number=next_number(job))))
        return 0
    return launch(job, port=args.port, grace=args.grace, start_timeout=args.start_timeout,
                  max_restarts=args.max_restarts)


if __name__ == "__main__":
    entry_point(main)
