"""The report of a user's settings: what it prints, its exit status, and what it refuses."""
import src  # noqa: F401  isort: skip
import subprocess
import sys
from pathlib import Path

import pytest

from src.tools.ascend_report import chips_by_check

ROOT = Path(__file__).parents[2]


def run(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, ROOT / "src/tools/ascend_report.py", *words], capture_output=True, text=True)


@pytest.mark.parametrize(("words", "message"), [
    (["--soc=H100"], "soc version 'H100': none of the families in the table (310, 310B, 310P, 910, 910B, A3)"),
    (["--soc=910B", "--soc=310P"], "--soc=910B, 310P: not all of these chips can train; give --graph=export, or some"),
    (["--graph=serve"], "invalid choice: 'serve'"),
    (["--graph=export", "--soc=310P", "--checkpoint=no.ckpt"], "no.ckpt"),
    (["--no_such_flag=1"], "unknown flag --no_such_flag")])
def test_wrong_words_are_refused_before_anything_is_compiled(words, message):
    ran = run("--model=deeplab_v3_s16", *words)
    assert (ran.returncode, "Traceback" in ran.stderr, "compiling" in ran.stdout) == (2, False, False)
    assert message in ran.stderr


@pytest.mark.parametrize(("given", "chips", "expected"), [
    ("auto", ["910", "910B", "A3"], {"status": ["910"], "auto": ["910B", "A3"]}),
    ("finite", ["910", "910B"], {"finite": ["910", "910B"]}), ("status", ["910B"], {"status": ["910B"]})])
def test_the_step_of_a_910_reads_the_overflow_register(given, chips, expected):
    assert chips_by_check(given, chips) == expected


@pytest.mark.slow
def test_one_graph_is_judged_for_every_chip_that_is_named():
    ran = run("--model=deeplab_v3_s16", "--graph=export", "--backbone=resnet18", "--input_size=33", "--soc=Ascend310P3",
              "--soc=310")
    assert ran.returncode == 1, ran.stderr  # 310 has less in float32 than is accepted
    modern, old = ran.stdout.split("deeplab_v3_s16: export graph on ")[1:]
    assert modern.startswith("310P\n")
    assert "0 nowhere; 0 not accepted" in modern
    assert "accepted: the matrix unit has float16 alone" in modern
    assert "never run on a device" in modern
    assert "ReduceMean" in old.split("AI Core\n")[0]
    assert "; in: Default" in old
