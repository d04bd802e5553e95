"""scripts/install.sh and scripts/docker_start.sh, and that the Dockerfile copies what the first one needs."""
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def script(name: str, *words, **variables: str) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if k != "ASCEND_HOME_PATH"} | variables
    return subprocess.run(["sh", ROOT / "scripts" / name, *map(str, words)], capture_output=True, text=True,
                          env=environment, stdin=subprocess.DEVNULL)


def cann(folder: Path, version: str) -> str:
    (folder / "compiler").mkdir(parents=True)
    (folder / "compiler/version.info").write_text(f"Version={version}\nversion_dir={version}\n")
    return str(folder)


@pytest.mark.parametrize(("words", "message"), [
    ([], "--prefix is missing"), (["--prefix=x", "--device=TPU"], "--device=TPU: expected Ascend or CPU"),
    (["--prefix=x", "--user"], "unknown flag --user")])
def test_wrong_use_is_explained(words, message):
    ran = script("install.sh", *words)
    assert ran.returncode == 2
    assert message in ran.stderr
    assert "install.sh --prefix=DIR" in ran.stderr


@pytest.mark.parametrize(("version", "message"), [("8.0.RC3", "CANN 8.0: MindSpore 2.10 needs one of 8.2"),
                                              ("", "CANN is not installed")])
def test_a_base_whose_cann_does_not_fit_is_named_with_one_that_does(version, message, tmp_path):
    ran = script("install.sh", f"--prefix={tmp_path}/env",
                 ASCEND_HOME_PATH=cann(tmp_path / "cann", version) if version else str(tmp_path))
    assert ran.returncode == 2
    assert message in ran.stderr
    assert "start from a CANN image such as" in ran.stderr
    assert not (tmp_path / "env").exists()


def test_a_base_whose_python_does_not_fit_is_refused_where_its_cann_does(tmp_path):
    (tmp_path / "bin").mkdir()
    for name in ("python", "python3", "python3.10", "python3.11", "python3.12"):
        path = tmp_path / "bin" / name
        path.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.7.5\n[ "$1" = --version ]\n')
        path.chmod(0o755)
    (tmp_path / "bin/apt-get").write_text("#!/bin/sh\n")  # a base without a newer one
    (tmp_path / "bin/apt-get").chmod(0o755)
    ran = script("install.sh", f"--prefix={tmp_path}/env", ASCEND_HOME_PATH=cann(tmp_path / "cann", "8.5.0"),
                 PATH=f"{tmp_path}/bin:/usr/bin:/bin", VIRTUAL_ENV="")
    assert ran.returncode == 2
    assert "Python 3.10, 3.11 or 3.12 is needed, Python 3.7.5 is here" in ran.stderr


@pytest.mark.slow
def test_an_empty_prefix_becomes_an_environment_that_runs(tmp_path):
    ran = script("install.sh", f"--prefix={tmp_path}/env", "--device=CPU", VIRTUAL_ENV="")
    assert ran.returncode == 0, ran.stderr
    assert "MindSpore 2.10.0" in ran.stdout
    python = tmp_path / "env/bin/python"
    shown = subprocess.run([python, ROOT / "train.py", "--print_config"], capture_output=True, text=True, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "model: deeplab_v3_s16" in shown.stdout, shown.stderr


def test_the_dockerfile_copies_what_the_installation_reads():
    text = (ROOT / "Dockerfile").read_text()
    before, after = text.split("RUN ")
    copied = re.findall(r"^COPY (.*) \S+$", before, re.M)
    assert {"requirements.txt", "requirements/", "scripts/common.sh scripts/install.sh"} == set(copied)
    for file in re.findall(r"[\w/]+[.]txt", after.split("\nENV")[0]):
        assert (ROOT / file).is_file()
    assert "FROM ${FROM_IMAGE_NAME}" in before


def test_docker_start_prints_the_whole_command(tmp_path):
    for name in ("data set", "models"):
        (tmp_path / name).mkdir()
    ran = script("docker_start.sh", "maskrcnn:20.1.0", tmp_path / "data set", tmp_path / "models", "--dry_run",
                 "python", "eval.py")
    assert ran.returncode == 0, ran.stderr
    data = str(tmp_path / "data set").replace(" ", "\\ ")
    assert ran.stdout.startswith("docker run ")
    assert f"--volume={data}:{data}" in ran.stdout
    assert ran.stdout.split()[-3:] == ["maskrcnn:20.1.0", "python", "eval.py"]


@pytest.mark.parametrize(("words", "message"), [(["image", "/tmp"], "expected IMAGE DATA_DIR MODEL_DIR"),
                                            (["image", "/nowhere", "/tmp"], "/nowhere: no such folder"),
                                            (["image", "/tmp", "/tmp", "--dryrun"], "--dryrun: unknown flag"),
                                            (["image", "/tmp", "/tmp", "--dry_run", "-x"], "-x: unknown flag")])
def test_docker_start_names_what_is_missing(words, message):
    ran = script("docker_start.sh", *words)
    assert ran.returncode == 2
    assert message in ran.stderr


def test_docker_start_without_docker_says_so(tmp_path):
    (tmp_path / "bin").mkdir()
    for name in ("sh", "bash", "basename", "dirname", "realpath", "sed"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))
    ran = script("docker_start.sh", "image", tmp_path, tmp_path, PATH=str(tmp_path / "bin"))
    assert ran.returncode == 2
    assert "docker is not installed" in ran.stderr
