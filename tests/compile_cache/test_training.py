"""Training processes with the cache: cold, warm, resumed, and with a wrong graph in it, they end with the same bits."""
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from src.compile_cache import key as keys
from src.compile_cache.entries import MANIFEST
from src.engine.checkpoint import load

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
SERVED = "the training graph: from the compile cache"


def train(folder: Path, cache: Path | str, *words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder.parent), "GLOG_v": "2"}
    done = subprocess.run([sys.executable, ROOT / "tests/compile_cache/train_tiny.py", folder, str(cache), *words],
                          env=environment, cwd=folder.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def assert_same_bits(one: Path, other: Path) -> None:
    names = sorted(path.name for path in one.glob("*.ckpt"))
    assert names == sorted(path.name for path in other.glob("*.ckpt"))
    for name in names:
        first, second = (load(folder / name)[0] for folder in (one, other))
        assert first.keys() == second.keys()
        for parameter, value in first.items():
            np.testing.assert_array_equal(value.asnumpy(), second[parameter].asnumpy(), err_msg=f"{name} {parameter}")


def seal(manifest: dict) -> dict:
    """A manifest whose hashes are right, whatever is in it."""
    content = {name: value for name, value in manifest.items() if name != "seal"}
    return content | {"seal": keys.digest(content)}


def test_cold_warm_resumed_and_deceived_runs_end_with_the_same_bits(tmp_path):
    train(tmp_path / "uncached", "")
    assert "compile cache" not in train(tmp_path / "cold", tmp_path / "cache")
    warm = train(tmp_path / "warm", tmp_path / "cache")
    assert SERVED in warm
    assert "WARNING" not in warm, "MindSpore's warnings of its own cache are not for users"
    assert_same_bits(tmp_path / "uncached", tmp_path / "cold")
    assert_same_bits(tmp_path / "uncached", tmp_path / "warm")

    for path in sorted((tmp_path / "warm").glob("*-2_*.ckpt")):
        path.unlink()  # as if killed in the second epoch
    assert SERVED in train(tmp_path / "warm", tmp_path / "cache", "resume=True")
    assert_same_bits(tmp_path / "uncached", tmp_path / "warm")

    # Another run's graph under this run's key, as if the key did not know what differs: the probe finds it out.
    train(tmp_path / "other", tmp_path / "cache2", "weight_decay=0.01")
    mine, = (path for path in (tmp_path / "cache").iterdir() if "training" in (path / MANIFEST).read_text())
    other, = (path for path in (tmp_path / "cache2").iterdir() if "training" in (path / MANIFEST).read_text())
    manifests = [json.loads((path / MANIFEST).read_text()) for path in (mine, other)]
    graph = "graph/rank_0/graph_cache/compile_cache_0.mindir"
    (mine / graph).unlink()
    (mine / graph).write_bytes((other / graph).read_bytes())
    manifests[0]["files"][graph] = manifests[1]["files"][graph]
    (mine / MANIFEST).write_text(json.dumps(seal(manifests[0])))
    deceived = train(tmp_path / "deceived", tmp_path / "cache")
    assert "calculates something else than when it was compiled" in deceived
    assert SERVED not in deceived
    assert_same_bits(tmp_path / "uncached", tmp_path / "deceived")
    assert SERVED in train(tmp_path / "again", tmp_path / "cache"), "the graph that was compiled anew is stored"


def test_sources_edited_while_a_process_runs_are_not_stored(tmp_path):
    program = ROOT / "tests/compile_cache/train_tiny.py"
    edited = tmp_path / "edited.py"
    edited.write_text(program.read_text().replace("logging.basicConfig(", "import pathlib, time\ntime.sleep(0.05)\n"
                                                  "pathlib.Path(__file__).touch()\nlogging.basicConfig("))
    done = subprocess.run([sys.executable, edited, tmp_path / "run", tmp_path / "cache"], cwd=tmp_path, text=True,
                          capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    assert "edited.py was edited after this process began" in done.stdout + done.stderr
    assert list((tmp_path / "cache").iterdir()) == []
