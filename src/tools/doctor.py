"""Check a host before a job: `python src/tools/doctor.py [--rank_table=FILE] [--output_dir=DIR] [--data_file=RECORDS]`.

One line a check: ok, warning or failure, with what to do. The exit status is 1 where something failed. With a rank
table of several hosts run the same line on all of them at the same time: they look whether they reach each other, how
far their clocks are apart and whether they see one output folder. Flags of train.py (--model, --data_file, --workers,
...) measure how fast its data can be read here. --json prints all for a bug report, without secrets.
"""
from __future__ import annotations

import os
import sys
from pathlib import Path

if __name__ == "__main__":  # works from any folder, as a file too
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src.doctor import software
from src.doctor.finding import FAILURE, WARNING, Finding, status
from src.doctor.report import to_json

try:
    from src import tasks
    from src.command_line import Parser, add_flag, entry_point, nearest, number_in
    from src.contract import InputError
    from src.doctor import checks
    from src.doctor.host import Host
    from src.launch.launcher import DEFAULT_PORT
    from src.launch.plan import plural
    from src.launch.rank_table import RankTable, Server, read, this_server
except ImportError as missing:  # of a package that is not installed: say so, instead of a traceback
    if __name__ != "__main__":
        raise
    told = [*software.python("Ascend"), *software.packages(),
            Finding("other checks", WARNING, f"not run: {missing}", "install the packages first")]
    print(to_json(told, os.environ) if "--json" in sys.argv else "\n".join(map(str, told)))
    raise SystemExit(1) from None

TRAIN_FLAGS = "flags of train.py, such as --model, --data_file, --batch_size and --workers, measure its data"


def build_parser() -> Parser:
    parser = Parser(prog="doctor.py", description=__doc__.splitlines()[0], epilog=TRAIN_FLAGS)
    add_flag(parser, "device_target", os.environ.get("DEVICE_TARGET", "Ascend"), "what the job runs on; DEVICE_TARGET",
             choices=("Ascend", "CPU"))
    add_flag(parser, "quick", False, "only what takes no time, as the launcher does before a job")
    add_flag(parser, "json", False, "print JSON for a bug report, without secrets and names of users")
    add_flag(parser, "rank_table", os.environ.get("RANK_TABLE_FILE", ""), "the job's rank table; RANK_TABLE_FILE",
             metavar="FILE")
    add_flag(parser, "server", "", "which entry of the table this host is, where its addresses do not tell")
    add_flag(parser, "port", DEFAULT_PORT, "port of the scheduler; the launchers of several hosts take the next one",
             type=number_in(int, 1, 65534))
    add_flag(parser, "meet_seconds", 60.0, "how long to wait for the other hosts of the table; 0 leaves them alone",
             type=number_in(float, 0))
    add_flag(parser, "output_dir", "", "the job's output folder; the current one where none is given")
    add_flag(parser, "step_ms", 0.0, "milliseconds of a step on a card, to compare the data with",
             type=number_in(float, 0))
    add_flag(parser, "data_seconds", 10.0, "how long to read the data", type=number_in(float, 0))
    return parser


def check_names(parser: Parser, words: list[str]) -> None:
    """Refuse flags that neither this tool nor train.py has, with the nearest of both.

    Raises:
        InputError: an unknown flag.
    """
    theirs = {f"--{name}" for model in tasks.MODELS for name in tasks.config_class(model).spellings()} | {"--config"}
    for name in (word.partition("=")[0] for word in words if word.startswith("--")):
        if name not in theirs:
            raise InputError(f"unknown flag {name}{nearest(name, theirs | parser._option_string_actions.keys())}")


def find_table(args) -> tuple[RankTable | None, Server | None, str]:
    """(rank table, this host's entry, "") of the command line, or what is wrong with them, which is a finding too."""
    try:
        table = read(args.rank_table, device_target=args.device_target) if args.rank_table else None
        return table, this_server(table, args.server) if table else None, ""
    except InputError as error:
        return None, None, str(error)


def subject_of(words: list[str]) -> tuple[checks.Subject, bool, bool]:
    """(what to check, whether only quickly, whether as JSON) of a command line."""
    parser = build_parser()
    args, theirs = parser.parse_known_args(words)
    check_names(parser, theirs)
    settings = tasks.parse_settings(theirs, program="doctor.py", groups=("train",)) if theirs else None
    table, server, problem = find_table(args)
    subject = checks.Subject(device_target=args.device_target, output_dir=args.output_dir, table=table, server=server,
                       table_problem=problem, port=args.port, meet_seconds=args.meet_seconds,
                       settings=settings, step_ms=args.step_ms, data_seconds=args.data_seconds)
    if args.quick and problem:
        raise InputError(problem)
    return subject, args.quick, args.json


def main() -> int:
    subject, quick, as_json = subject_of(sys.argv[1:])
    host, findings = Host(), []
    ranks = len(subject.server.devices) if subject.server else None
    running = checks.full(host, subject)
    if quick:
        running = checks.quick(host, device_target=subject.device_target, output_dir=subject.output_dir, ranks=ranks)
    for finding in running:
        findings.append(finding)
        if not as_json:
            print(finding, flush=True)
    if as_json:
        print(to_json(findings, host.env))
    else:
        counts = {what: sum(f.level == level for f in findings) for what, level in
                  (("warning", WARNING), ("failure", FAILURE))}
        print(", ".join(plural(count, what) for what, count in ({"check": len(findings)} | counts).items()))
    return status(findings)


if __name__ == "__main__":
    entry_point(main)
