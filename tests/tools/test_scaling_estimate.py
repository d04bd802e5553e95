"""The scaling formula against sums done by hand, and its command line."""
import subprocess
import sys
from pathlib import Path

import pytest

from src.tools.scaling_estimate import Measured, estimate, ring_seconds

TOOL = Path(__file__).resolve().parents[2] / "src" / "tools" / "scaling_estimate.py"
ONE = Measured(step=0.5, batch=32, gradient=200e6, link=10e9, latency=1e-5)


def test_ring_all_reduce():
    assert ring_seconds(1, ONE) == 0
    assert ring_seconds(2, ONE) == pytest.approx(200e6 / 10e9 + 2e-5)
    assert ring_seconds(8, ONE) == pytest.approx(2 * 7 / 8 * 0.02 + 14e-5)


def test_one_card_is_the_measurement():
    row = estimate(1, ONE)
    assert (row.time, row.rate, row.efficiency, row.limit) == (0.5, 64.0, 1.0, "compute")


def test_communication_costs_efficiency():
    row = estimate(4096, ONE)
    assert row.time == pytest.approx(0.5 + 2 * 4095 / 4096 * 0.02 + 2 * 4095e-5)
    assert row.efficiency == pytest.approx(0.5 / row.time)
    assert row.rate == pytest.approx(4096 * 32 / row.time)
    hidden = Measured(step=0.5, batch=32, gradient=200e6, link=10e9, latency=1e-5, overlap=1)
    assert estimate(4096, hidden).efficiency == 1


def test_slow_readers_limit_a_full_host():
    slow = Measured(step=0.5, batch=32, gradient=200e6, link=10e9, data_rate=128)
    assert estimate(1, slow).limit == "compute"
    row = estimate(64, slow)
    assert (row.limit, row.time) == ("data", 2.0)
    assert row.efficiency == pytest.approx(0.25)


def test_spread_makes_all_wait_for_the_slowest():
    spread = Measured(step=0.5, batch=32, gradient=0, link=1, spread=0.01)
    assert estimate(512, spread).time == pytest.approx(0.5 + 0.01 * 3.532, abs=1e-5)


def run(*words):
    needed = ["--step_ms=518", "--batch_size=32", "--gradient_mb=237", "--link_gbps=100"]
    done = subprocess.run([sys.executable, TOOL, *needed, *words], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_table_and_formula_are_printed():
    status, output = run()
    assert status == 0
    assert "2 (n-1)/n gradient / link" in output
    assert [line.split()[0] for line in output.splitlines()[-4:]] == ["8", "64", "512", "4096"]


@pytest.mark.parametrize(("word", "message"), [("--step_ms=0", "--step_ms=0: must be above 0"),
                                           ("--overlap=2", "--overlap=2: must be 0 to 1"),
                                           ("--cards=0", "--cards=0: must be 1 or more")])
def test_wrong_numbers(word, message):
    status, output = run(word)
    assert status == 2
    assert message in output
