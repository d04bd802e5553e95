"""docs/cluster.md: its commands run in their order, as far as a machine without cards can."""
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CARDS = """#!/bin/sh
echo "ipaddr:192.168.${host}.$2"
"""


@pytest.fixture
def commands() -> list[str]:
    text = (ROOT / "docs/cluster.md").read_text(encoding="utf-8")
    block = re.search(r"```bash\n(.*?)```", text, re.S)[1].replace("\\\n", " ")
    return [line for line in block.splitlines() if not line.startswith("#")]


def test_the_commands_run_in_their_order(commands, tmp_path):
    tool = tmp_path / "bin" / "hccn_tool"
    tool.parent.mkdir()
    tool.write_text(CARDS)
    tool.chmod(0o755)
    python = tool.with_name("python3")
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (tmp_path / "RECORDS").mkdir()
    for name in ("RESNET50.ckpt", "RESNET101.ckpt"):
        (tmp_path / name).touch()
    outer = {k: v for k, v in os.environ.items() if not k.startswith(("RANK_", "MS_", "DEVICE_"))}
    outer |= {"PATH": f"{tool.parent}:{os.environ['PATH']}", "PYTHON": sys.executable}
    plans = []
    for command in commands:
        line = re.sub(r"(?<= )(src|scripts)/", rf"{ROOT}/\1/", command.replace("/PATH/TO", str(tmp_path)))
        if "standalone" in line:
            line += " --print_config --device_target=CPU"
        elif "run_distribute" in line:
            line += " --dry_run --server=10.111.2.3" if ".json" in line else " --dry_run"
        host = "4" if "10.111.2.4" in line.split()[-1] else "3"
        done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=outer | {"host": host}, text=True,
                              capture_output=True)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        plans.append(done.stdout)
    assert len(commands) == 11
    assert [re.search(r"^\d+ ranks on \w+", plan)[0] for plan in plans if "this host is" in plan] == [
        "2 ranks on CPU", "8 ranks on Ascend", "8 ranks on Ascend", "16 ranks on Ascend", "16 ranks on Ascend"]
    assert (tmp_path / "four.json").read_text().count("rank_id") == 4


def test_the_flags_that_the_page_names_exist(commands):
    text = (ROOT / "docs/cluster.md").read_text(encoding="utf-8")
    known = ""
    for words in ("src/tools/launch.py --help", "src/tools/get_multicards_json.py --help", "train.py --help",
                  "src/tools/build_seg_data.py --help", "src/tools/scaling_estimate.py --help",
                  "src/tools/doctor.py --help",
                  "train.py --model=mask_rcnn_r50 --help"):
        done = subprocess.run([sys.executable, *shlex.split(words)], cwd=ROOT, capture_output=True, text=True)
        known += done.stdout
    absent = [flag for flag in set(re.findall(r"(--\w+)", text)) if not re.search(rf"{flag}\b", known)]
    assert absent == []
