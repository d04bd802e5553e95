"""Join the rank tables of several servers: `python merge_rank_tables.py A.json B.json`; A's ranks come first."""
from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":  # works from any folder, as a file too
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src.command_line import Parser, entry_point
from src.launch.rank_table import merge, read, write


def main() -> None:
    parser = Parser(prog="merge_rank_tables.py", description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="+", metavar="FILE", help="rank tables; ranks are numbered in this order")
    parser.add_argument("--device_target", default="Ascend", choices=("Ascend", "CPU"), help="what the ranks run on")
    parser.add_argument("--output", default="", metavar="FILE", help="the file to write (default: hccl_{s}s_{n}p.json)")
    args = parser.parse_args()
    table = merge([read(path, device_target=args.device_target) for path in args.tables])
    path = write(table, args.output or f"hccl_{len(table.servers)}s_{table.world_size}p.json")
    print(f"{path.resolve()}: {table.world_size} ranks on {len(table.servers)} server(s)")


if __name__ == "__main__":
    entry_point(main)
