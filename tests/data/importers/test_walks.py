"""The walks of docs/own_data.md: each tool's lines run on an export of that tool, up to what training reads."""
import re
import shlex
import sys
from pathlib import Path

import pytest

from src import tasks
from src.deeplabv3.splits import open_split as open_labels
from src.maskrcnn.splits import open_split as open_objects
from src.tools import import_data
from tests.data.importers.exports import WRITERS
from tests.data.importers.forms import EVERY

PAGE = (Path(__file__).parents[3] / "docs/own_data.md").read_text(encoding="utf-8")
WALKS = {found[1]: found[0] for found in re.finditer(
    r"```bash\n# .*\npython src/tools/import_data\.py (\w+) EXPORT --to=data/mine\n(?:.*\n)+?```", PAGE)}


def lines_of(block: str) -> list[list[str]]:
    """The words of the commands of a block."""
    return [shlex.split(line) for line in block.replace("\\\n", " ").splitlines() if line.startswith("python")]


def test_every_tool_has_a_walk_of_five_lines():
    assert set(WALKS) == set(WRITERS)
    assert {len(lines_of(block)) + 1 for block in WALKS.values()} == {5}  # with the line about the tool


@pytest.mark.parametrize("name", EVERY)
def test_the_lines_of_a_tool_lead_to_what_is_trained_and_evaluated(name, tmp_path, monkeypatch, capsys):
    EVERY[name](tmp_path / "EXPORT")
    monkeypatch.chdir(tmp_path)
    imported, trained, evaluated, predicted = lines_of(WALKS[name.split("/")[0]])
    layout = [] if name not in ("ade20k/instances", "ade20k/full") else ["--layout=coco"]
    if layout:  # these forms become instances, and the lines of the first tool follow
        _, trained, evaluated, predicted = lines_of(WALKS["labelme"])
    monkeypatch.setattr(sys, "argv", [*imported[1:], *layout])
    assert import_data.main() == 0
    assert "train with:" in capsys.readouterr().out
    without = [word for word in trained[2:] if not word.endswith("=WEIGHTS")]
    config = tasks.parse_settings(without, program="train.py", groups=("train",))
    objects = "--model=mask_rcnn_r50" in trained
    if not objects and "--num_classes=3" in trained:
        assert config.num_classes == 3
    for split in ("train", "val"):
        tasks.check(config, split)
        assert len((open_objects if objects else open_labels)(config, split)) == {"train": 3, "val": 1}[split]
    shown = [word for word in evaluated[2:] if not word.startswith("--ckpt_path")]
    assert len((open_objects if objects else open_labels)(
        tasks.parse_settings(shown, program="eval.py", groups=("eval",)).model_copy(
            update={"num_classes": config.num_classes}), "val")) == 1
    assert Path(predicted[-1]).is_dir()
