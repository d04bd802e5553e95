"""The data doctor as a program: page, JSON and preset; the preset trains; earlier files are kept; wrong input."""
import json
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from src import tasks
from src.contract import InputError
from src.tools import doctor_data
from tests.doctor.data.shapes import write_instances, write_labels

SPLIT_KEYS = {"name", "records", "left_out", "unusable", "not_listed", "images", "pixels"}
DOCUMENTED = {"format", "model", "no_val", "splits", "copies", "findings", "proposals", "preset"}
ROOT = Path(__file__).parents[2]


def run(monkeypatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["doctor_data.py", *words])
    return doctor_data.main()


def instances(root: Path) -> list[str]:
    write_instances(root)
    return ["--model=mask_rcnn_r50", f"--coco_root={root}", "--train_data_type=train", "--val_data_type=val",
            "--img_height=64", "--img_width=96", "--workers=1"]


def labels(root: Path) -> list[str]:
    write_labels(root)
    return [f"--data_root={root}", f"--data_lst={root / 'train.txt'}", "--num_classes=2", "--crop_size=65",
            "--workers=1"]


class Balanced(HTMLParser):
    """Collects sources and checks that tags are closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.sources = [], []

    def handle_starttag(self, tag, attrs):
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize(("write", "own"), [(instances, "instances"), (labels, "labels")])
def test_page_numbers_and_preset(write, own, tmp_path, monkeypatch, capsys):
    words, to = write(tmp_path / "data"), tmp_path / "out"
    assert run(monkeypatch, *words, f"--to={to}") == 0
    assert sorted(path.name for path in to.iterdir()) == ["doctor.html", "doctor.json", "proposed.yaml"]
    page = Balanced()
    page.feed((to / "doctor.html").read_text())
    assert page.open == []
    assert page.sources
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources), "a page fetches nothing"
    numbers = json.loads((to / "doctor.json").read_text())
    assert set(numbers) == DOCUMENTED
    assert set(numbers["splits"]["train"]) == SPLIT_KEYS | {own}
    proposed = {entry["key"]: entry["proposed"] for entry in numbers["proposals"]}
    assert proposed
    settings = tasks.parse_settings([words[0], f"--config={to / 'proposed.yaml'}"], program="train.py",
                                    groups=("train",))
    assert {key: json.loads(json.dumps(getattr(settings, key))) for key in proposed} == proposed
    assert settings.workers == 1, "what was given is in the preset too"
    assert "proposed " in capsys.readouterr().out


def test_every_key_of_the_json_is_documented(tmp_path, monkeypatch):
    page, keys = (ROOT / "docs/own_data.md").read_text(), set()
    for write in (instances, labels):
        run(monkeypatch, *write(tmp_path / write.__name__), f"--to={tmp_path / 'out'}", "--samples=False")
        numbers = json.loads((tmp_path / "out/doctor.json").read_text())
        keys |= set(numbers) | set(numbers["copies"]) | set(numbers["splits"]["train"])
        keys |= {key for part in ("images", "pixels", "instances", "labels")
                 for key in numbers["splits"]["train"].get(part, ())}
    assert sorted(key for key in keys if f"`{key}`" not in page) == []


def test_an_earlier_preset_is_kept(tmp_path, monkeypatch):
    words, to = labels(tmp_path / "data"), tmp_path / "out"
    run(monkeypatch, *words, f"--to={to}", "--samples=False")
    (to / "proposed.yaml").write_text("mine: 1\n")
    run(monkeypatch, *words, f"--to={to}", "--samples=False")
    assert (to / "proposed.1.yaml").read_text() == "mine: 1\n"
    assert "class_weights" in (to / "proposed.yaml").read_text()
    assert not (to / "doctor.1.html").exists(), "the same page is not kept twice"


def test_the_exit_status_says_whether_training_would_fail(tmp_path, monkeypatch):
    words = labels(tmp_path)
    (tmp_path / "images/a.png").write_bytes(b"")
    assert run(monkeypatch, *words, f"--to={tmp_path / 'out'}", "--samples=False") == 1


@pytest.mark.parametrize(("words", "message"), [
    (["--data_lst=/nowhere/list.txt", "--data_root=/"], "no such list"),
    (["--model=mask_rcnn_r50", "--coco_root=/nowhere"], "no such folder"),
    (["--model=mask_rcnn_r50"], "train data is missing"),
    ([], "train data is missing")])
def test_missing_data(words, message, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=message):
        run(monkeypatch, *words, f"--to={tmp_path / 'out'}")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made(tmp_path, monkeypatch):
    words = labels(tmp_path)
    with pytest.raises(InputError, match="--to=.*give a folder"):
        run(monkeypatch, *words, f"--to={tmp_path / 'train.txt/out'}", "--samples=False")


def test_a_wrong_flag(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, "--data_lts=x")
    assert "did you mean --data_lst?" in capsys.readouterr().err
