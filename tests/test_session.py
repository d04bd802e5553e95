"""The test session itself: which skips are failures, and which tests may run beside each other."""
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONFTEST = """
from tests.skips import pytest_make_collect_report, pytest_runtest_makereport

def pytest_addoption(parser):
    parser.addoption("--strict_skips", action="store_true")
"""
TESTS = """
import pytest

def test_listed():
    pytest.skip("needs two cores")

def test_unlisted():
    pytest.skip("no time today")

@pytest.mark.skipif(True, reason="never on Sundays")
def test_unlisted_by_mark(): ...

@pytest.mark.xfail(reason="known")
def test_expected_failure():
    assert False
"""


def run_pytest(*words: object, cwd: Path, **variables: str) -> str:
    ran = subprocess.run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *map(str, words)], cwd=cwd,
                         capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)} | variables)
    return ran.stdout + ran.stderr


@pytest.mark.parametrize(("flags", "closing_line"), [
    ([], "4 skipped, 1 xfailed"), (["--strict_skips"], "1 failed, 1 skipped, 1 xfailed, 2 errors")])
def test_a_skip_that_is_not_listed_fails_in_ci_alone(tmp_path, flags, closing_line):
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_skips.py").write_text(TESTS)
    (tmp_path / "test_import.py").write_text("import pytest\npytest.importorskip('no_such_module')\n")
    output = run_pytest(*flags, "--continue-on-collection-errors", cwd=tmp_path)
    assert closing_line in output.splitlines()[-1], output
    assert ("no time today), which tests/skips.py does not allow" in output) == bool(flags), output


def test_without_the_reference_material_ci_fails_unless_it_is_told(tmp_path):
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_shared.py").write_text(
        "import pytest\nfrom tests.skips import SHARED_IS_MISSING\n"
        "def test_golden():\n    pytest.skip(SHARED_IS_MISSING)\n")
    assert "1 failed" in run_pytest("--strict_skips", cwd=tmp_path, MINDSEG_WITHOUT_SHARED="0")
    assert "1 skipped" in run_pytest("--strict_skips", cwd=tmp_path, MINDSEG_WITHOUT_SHARED="1")


def test_a_file_and_a_folder_of_ranks_stay_in_one_process():
    output = run_pytest("-v", "--numprocesses=2", "--dist=loadfile", "tests/launch/test_plan.py",
                        "tests/launch/test_rank_table.py", "tests/data/test_order.py", cwd=ROOT)
    processes = defaultdict(set)
    for process, path in re.findall(r"\[(gw\d)\].* PASSED tests/(\S+)::", output):
        processes["launch" if path.startswith("launch/") else path].add(process)
    assert {place: len(found) for place, found in processes.items()} == {"launch": 1, "data/test_order.py": 1}, output
    assert len(set.union(*processes.values())) == 2
