"""The shell functions of scripts/common.sh."""
import subprocess
from pathlib import Path

import pytest

COMMON = Path(__file__).parents[2] / "scripts/common.sh"


def bash(code: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess:
    return subprocess.run(["bash", "-c", f'set -euo pipefail; source "{COMMON}"; {code}'], cwd=cwd, text=True,
                          capture_output=True, env={"PATH": "/usr/local/bin:/usr/bin:/bin"} | variables)


@pytest.mark.parametrize(("words", "expected"), [
    ("--resume", 0), ("--a --resume=True", 0), ("--resumed", 1), ("resume", 1), ("", 1), ("--data_lst=resume", 1),
    ("--data_lst x --resume", 0)])
def test_has_flag(words, expected, tmp_path):
    assert bash(f"has_flag resume again -- {words}", tmp_path).returncode == expected


def test_new_folder_takes_the_first_free_number(tmp_path):
    for expected in ("a/b c", "a/b c_2", "a/b c_3"):
        assert bash("new_folder 'a/b c/'", tmp_path).stdout == f"{expected}\n"
        assert (tmp_path / expected).is_dir()


def test_new_folder_passes_by_a_file(tmp_path):
    (tmp_path / "run").write_text("a file")
    assert bash("new_folder run", tmp_path).stdout == "run_2\n"


def test_parallel_runs_get_folders_of_their_own(tmp_path):
    ran = bash("for _ in 1 2 3 4 5 6 7 8; do new_folder run & done; wait", tmp_path)
    assert len(set(ran.stdout.split())) == 8 == len(list(tmp_path.iterdir()))


def test_logged_keeps_the_status_and_both_streams(tmp_path):
    ran = bash("logged log bash -c 'echo out; echo err >&2; exit 7'", tmp_path)
    assert ran.returncode == 7
    assert sorted(ran.stdout.split()) == sorted((tmp_path / "log").read_text().split()) == ["err", "out"]


def test_newest_checkpoint_is_of_the_last_step_whatever_the_times_of_the_files(tmp_path):
    ran = bash("newest_checkpoint .", tmp_path)
    assert (ran.returncode, ran.stderr) == (2, "bash: error: .: no checkpoint\n")
    code = "touch m-2_9.ckpt a-b-10_3.ckpt m-10_2.ckpt m-9_40.ckpt m_best.ckpt x-11_1.txt; newest_checkpoint ."
    assert bash(code, tmp_path).stdout == "./a-b-10_3.ckpt\n"


def test_a_run_goes_on_on_its_own_data_alone(tmp_path):
    mine = "run_on_data 'a b/seed_1' '/data/of mine'"
    for code in ("run_on_data 'a b/seed_1' /wrong", f"{mine}; mkdir 'a b/seed_1/ckpt'", mine):
        assert bash(code, tmp_path).returncode == 0
    ran = bash("run_on_data 'a b/seed_1' /data/other", tmp_path)
    assert ran.returncode == 2
    assert "a b/seed_1 is a run on the data in /data/of mine, not /data/other; choose another RUN_DIR" in ran.stderr
    (tmp_path / "file").touch()
    ran = bash("run_on_data file/seed_1 /data", tmp_path)
    assert (ran.returncode, ran.stderr) == (2, "bash: error: RUN_DIR: file/seed_1 cannot be written; choose another "
                                               "folder\n")


def fake_python(folder: Path, version: tuple[int, int], name: str = "python3") -> None:
    """A program that answers to the two questions that are asked of an interpreter, as a version would."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f'#!/bin/sh\ncase "$2" in *version_info*) exit {int(not (3, 10) <= version < (3, 13))};; esac\n'
                    'case "$2" in *ensurepip*) exit ${NO_VENV:-0};; esac\n')
    path.chmod(0o755)


@pytest.mark.parametrize(("version", "found"), [((3, 9), False), ((3, 10), True), ((3, 12), True), ((3, 13), False)])
def test_host_python_is_of_a_supported_version(version, found, tmp_path):
    for name in ("python3", "python", "python3.10", "python3.11", "python3.12"):
        fake_python(tmp_path / "bin", version, name)
    ran = bash("host_python", tmp_path, PATH=f"{tmp_path}/bin:/usr/bin:/bin")
    assert (ran.returncode == 0) is found
    assert ran.stdout.startswith(str(tmp_path)) is found


def test_missing_packages_are_named(tmp_path):
    fake_python(tmp_path / "bin", (3, 11))
    code = "library_is_there() { [[ $1 != libGL.so.1 ]]; }; missing_packages"
    assert bash(code, tmp_path, PATH=f"{tmp_path}/bin:/usr/bin:/bin", NO_VENV="1").stdout.split() == [
        "python3-venv", "libgl1"]


def test_installation_stops_with_the_packages_names(tmp_path):
    code = "missing_packages() { echo libgl1; echo libgomp1; }; ensure_environment requirements.txt"
    ran = bash(code, tmp_path)
    assert ran.returncode == 2
    assert "apt-get install -y libgl1 libgomp1" in ran.stderr


def test_a_library_that_is_not_there(tmp_path):
    assert bash("library_is_there libc.so.6", tmp_path).returncode == 0
    assert bash("library_is_there libnosuchthing.so.3", tmp_path).returncode == 1
