"""Python, packages, cores, memory, disk and the output folder."""
import fcntl

import pytest

from src.doctor import folder, machine, software
from src.doctor.finding import FAILURE, OK, WARNING, Finding, collect, status

AVX512 = "model name\t: Some Processor\nflags\t\t: fpu avx2 avx512f avx512_bf16\n"


@pytest.mark.parametrize(("version", "level"), [((3, 9, 18), FAILURE), ((3, 10, 0), OK), ((3, 12, 9), OK),
                                                ((3, 13, 0), FAILURE)])
def test_python(only, version, level):
    found = only(software.python("CPU", version))
    assert (found.level, found.text.startswith(".".join(map(str, version)))) == (level, True)


def test_requirements_of_this_python():
    text = ('# a remark\nnumpy==1.26.4\nscipy==1.17.1; python_version >= "3.11"\n'
            'scipy==1.15.3; python_version < "3.11"\n')
    assert software.requirements(text, (3, 10)) == {"numpy": "1.26.4", "scipy": "1.15.3"}
    assert software.requirements(text, (3, 12)) == {"numpy": "1.26.4", "scipy": "1.17.1"}


@pytest.mark.parametrize(("installed", "level", "text"), [
    ({}, OK, "as in requirements.txt"), ({"numpy": "2.0.1"}, WARNING, "numpy 2.0.1 instead of 1.26.4"),
    ({"mindspore": "2.9.0"}, FAILURE, "mindspore 2.9.0 instead of 2.10.0"),
    ({"mindspore": "2.10.1"}, WARNING, "mindspore 2.10.1 instead"), ({"scipy": None}, FAILURE, "scipy is missing")])
def test_packages(only, monkeypatch, installed, level, text):
    needed = software.requirements((software.ROOT / "requirements.txt").read_text())

    def version(name):
        if installed.get(name, "") is None:
            raise software.metadata.PackageNotFoundError(name)
        return installed.get(name, needed[name])

    monkeypatch.setattr(software.metadata, "version", version)
    found = only(software.packages())
    assert (found.level, text in found.text) == (level, True), found


@pytest.mark.parametrize(("value", "cpuinfo", "level"), [("AVX2", AVX512, OK), ("AVX512_CORE", AVX512, WARNING),
                                                         ("", AVX512, WARNING), ("", "Features : asimd sve\n", OK)])
def test_switch_of_the_cpus_convolutions(make_host, only, value, cpuinfo, level):
    found = only(software.convolution_switch(make_host({"/proc/cpuinfo": cpuinfo}, ONEDNN_MAX_CPU_ISA=value)))
    assert found.level == level


@pytest.mark.parametrize(("files", "cores", "memory"), [
    ({"cpu.max": "150000 100000\n", "memory.max": "2000000000\n", "memory.current": "500000000\n",
      "memory.stat": "anon 1\ninactive_file 100000000\n"}, 1.5, (2_000_000_000, 400_000_000)),
    ({"cpu.max": "max 100000\n", "memory.max": "max\n", "memory.current": "5\n"}, None, None),
    ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n", "memory/memory.limit_in_bytes": "9\n",
      "memory/memory.usage_in_bytes": "4\n"}, 0.5, (9, 4)),
    ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None, None), ({}, None, None)])
def test_limits_of_a_container(make_host, files, cores, memory):
    host = make_host({f"/sys/fs/cgroup/{name}": text for name, text in files.items()})
    assert (machine.core_limit(host), machine.memory_limit(host)) == (cores, memory)


def test_limits_of_an_own_group(make_host):
    host = make_host({"/proc/self/cgroup": "4:memory:/pods/a\n3:cpuacct,cpu:/pods/a\n0::/pods/b\n",
                      "/sys/fs/cgroup/cpu/pods/a/cpu.cfs_quota_us": "300000", "/sys/fs/cgroup/memory/pods/a/memory."
                      "limit_in_bytes": "70", "/sys/fs/cgroup/memory/pods/a/memory.usage_in_bytes": "20",
                      "/sys/fs/cgroup/cpu/pods/a/cpu.cfs_period_us": "100000"})
    assert (machine.core_limit(host), machine.memory_limit(host)) == (3.0, (70, 20))
    assert machine.core_limit(make_host({"/sys/fs/cgroup/pods/b/cpu.max": "100000 50000"})) == 2.0


def test_cores_and_memory_that_the_container_limits(make_host, only):
    host = make_host({"/sys/fs/cgroup/cpu.max": "50000 100000", "/sys/fs/cgroup/memory.max": "3000000000",
                      "/sys/fs/cgroup/memory.current": "1000000000", "/proc/cpuinfo": AVX512,
                      "/proc/meminfo": "MemTotal:       16000000 kB\nMemAvailable:   15000000 kB\n"})
    found = only(machine.cores(host, 1))
    assert (found.level, found.remedy.split(",")[0]) == (WARNING, "export OMP_NUM_THREADS=1 and train with --workers=1")
    assert "Some Processor (avx2 avx512f avx512_bf16), but the container may use only 0.5" in found.text
    found = only(machine.memory(host, 2))
    assert found.level == WARNING
    assert found.text == "2.0 GB free of 3.0 GB of the container's limit; 2 ranks that compile want about 8 GB"
    plenty = make_host({"/proc/meminfo": "MemTotal: 16000000 kB\nMemAvailable: 15000000 kB\n",
                        "/sys/fs/cgroup/memory.max": "max", "/sys/fs/cgroup/memory.current": "1"})
    assert only(machine.memory(plenty, 2)).level == OK


@pytest.mark.parametrize(("free", "level"), [(50e9, OK), (5e9, WARNING), (5e8, FAILURE)])
def test_disk(only, tmp_path, monkeypatch, free, level):
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda place: type("Usage", (), {"free": free}))
    found = only(machine.disk(str(tmp_path / "not/yet")))
    assert (found.level, f"free in {tmp_path}" in found.text) == (level, True)


def test_this_machine(this_machine, only, tmp_path):
    assert only(machine.cores(this_machine, 1)).text.partition(" ")[0].isdecimal()
    assert "GB free of" in only(machine.memory(this_machine, 1)).text
    found = only(folder.output_folder(this_machine, str(tmp_path / "run"), 1))
    assert found.level in (OK, WARNING)
    assert f"{tmp_path} ({folder.file_system(this_machine, tmp_path)}): a small file takes" in found.text
    assert list(tmp_path.iterdir()) == [], "the check left something"


MOUNTS = "/dev/sda / ext4 rw 0 0\nserver:/x /data nfs4 rw 0 0\nserver:/y /data/a\\040b lustre rw 0 0\n"


@pytest.mark.parametrize(("name", "kind"), [("/home/x", "ext4"), ("/data", "nfs4"), ("/data/run", "nfs4"),
                                            ("/database", "ext4"), ("/data/a b/c", "lustre")])
def test_file_system(make_host, name, kind):
    assert folder.file_system(make_host({"/proc/mounts": MOUNTS}), machine.Path(name)) == kind


def test_several_hosts_on_a_local_disk(make_host, only, tmp_path):
    local = make_host({"/proc/mounts": "/dev/sda / ext4 rw 0 0\n"})
    found = only(folder.output_folder(local, str(tmp_path), 2))
    assert (found.level, "one output folder that all of them see" in found.remedy) == (WARNING, True)
    assert only(folder.output_folder(local, str(tmp_path), 1)).level == OK
    shared = make_host({"/proc/mounts": "server:/x / nfs4 rw 0 0\n"})
    assert only(folder.output_folder(shared, str(tmp_path), 2)).level == OK


def test_locks_that_do_not_hold(make_host, only, tmp_path, monkeypatch):
    assert folder.lock_holds(tmp_path)
    monkeypatch.setattr(fcntl, "flock", lambda file, kind: None)  # as on nfs mounted with nolock
    found = only(folder.output_folder(make_host(), str(tmp_path), 1))
    assert (found.level, "locks do not hold" in found.text) == (FAILURE, True)


def test_a_folder_without_the_right_to_write(make_host, only):
    found = only(folder.output_folder(make_host(), "/proc/self", 1))
    assert (found.level, "cannot be written to" in found.text) == (FAILURE, True)


def test_a_check_that_fails_does_not_end_the_others():
    def broken_tool():
        raise OSError("no such thing")
        yield

    findings = list(collect([broken_tool, lambda: iter([Finding("other", OK, "well")])]))
    assert [f.level for f in findings] == [WARNING, OK]
    assert findings[0].text == "could not be checked: no such thing"
    assert [status(findings), status([Finding("x", FAILURE, "y")])] == [0, 1]
