"""One launcher and its ranks, which are real processes, killed and stopped in every way."""
import os
import signal
import threading
import time

import pytest

from src.contract import InputError
from src.launch import supervisor
from src.launch.plan import Process

TWO = {"127.0.0.1": [(1, 5), (0, 4)]}


@pytest.fixture
def two(table_file):
    return "--rank_table", table_file(TWO)


def logs(folder, number=""):
    return [(folder / f"train_parallel{r}{number}" / "log").read_text() for r in (0, 1)]


def test_ranks_get_their_own_environment_and_log(launchers, two):
    status, _ = launchers.run(*two, "rank.py", "env=RANK_ID", "env=DEVICE_ID", "env=RANK_SIZE", "env=RANK_TABLE_FILE",
                              "env=HCCL_EXEC_TIMEOUT", "env=MS_ROLE", MS_ROLE="MS_SCHED")
    assert status == 0
    zero, one = logs(launchers.folder)
    assert "RANK_ID=0\nDEVICE_ID=0\nRANK_SIZE=2\n" in zero
    assert "RANK_ID=1\nDEVICE_ID=1\nRANK_SIZE=2\n" in one
    assert "RANK_TABLE_FILE=None\nHCCL_EXEC_TIMEOUT=1836\nMS_ROLE=MS_WORKER\n" in one


def test_status_of_the_first_failing_rank_and_the_end_of_its_log(launchers, two):
    status, output = launchers.run(*two, "rank.py", "child", "1:say=out of luck",
                                   "1:say=[WARNING] DISTRIBUTED(1): [mindspore/ccsrc/tcp.cc:1] Connection 3",
                                   "1:exit=7", "sleep=60")
    assert status == 7
    assert "the job ended with status 7: rank 1 on 127.0.0.1 exited with status 7" in output
    assert "  | out of luck\nthe job ended" in output
    assert launchers.left() == []


def test_sigkill_of_a_rank_ends_the_job_and_names_the_rank(launchers, two):
    popen = launchers.start(*two, "rank.py", "child", "pid", "sleep=60")
    launchers.pid(0), launchers.pid(1)
    assert len(launchers.left()) == 4  # two ranks, each with a child
    os.kill(launchers.pid(1), signal.SIGKILL)
    begun = time.monotonic()
    output, _ = popen.communicate(timeout=30)
    assert time.monotonic() - begun < 5
    assert popen.returncode == 137
    assert "rank 1 on 127.0.0.1 was killed by signal 9 (SIGKILL)" in output
    assert launchers.left() == []


def test_a_crash_in_native_code_leaves_the_python_stack_in_the_log(launchers, two):
    popen = launchers.start(*two, "rank.py", "1:crash", "sleep=60")
    output, _ = popen.communicate(timeout=30)
    assert popen.returncode == 139
    assert "rank 1 on 127.0.0.1 was killed by signal 11 (SIGSEGV)" in output
    assert "  | Fatal Python error: Segmentation fault\n" in output
    assert 'rank.py", line ' in output


def test_a_crash_after_the_end_of_the_program_does_not_undo_its_work(launchers, two):
    output, _ = (popen := launchers.start(*two, "rank.py", "1:ended=0", "1:crash", "sleep=2")).communicate(timeout=30)
    assert popen.returncode == 0
    assert ("rank 1 was killed by signal 11 (SIGSEGV) after its program had ended with status 0, which counts\n"
            "the job ended well") in output


@pytest.mark.parametrize("words", [("1:child_ended=0", "1:crash"), ("1:ended=0", "1:killed")])
def test_the_end_of_a_child_and_a_kill_excuse_nothing(words, launchers, two):
    output, _ = (popen := launchers.start(*two, "rank.py", *words, "sleep=60")).communicate(timeout=30)
    assert popen.returncode == 128 + (signal.SIGSEGV if words[1] == "1:crash" else signal.SIGKILL)
    assert "which counts" not in output


def test_a_crash_after_a_failure_is_that_failure(launchers, two):
    output, _ = (popen := launchers.start(*two, "rank.py", "1:ended=2", "1:crash", "sleep=60")).communicate(timeout=30)
    assert popen.returncode == 2
    assert "rank 1 on 127.0.0.1 exited with status 2" in output


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_signal_to_the_launcher_lets_ranks_save_and_leaves_nothing(launchers, two, number, status):
    popen = launchers.start(*two, "rank.py", "save", "child", "pid", "sleep=60")
    launchers.pid(0), launchers.pid(1)
    popen.send_signal(number)
    popen.communicate(timeout=30)
    assert popen.returncode == status
    assert [text.endswith("saved\n") for text in logs(launchers.folder)] == [True, True]
    assert launchers.left() == []


def test_ranks_that_ignore_sigterm_are_killed_after_the_grace_period(launchers, two):
    popen = launchers.start(*two, "--grace=1", "rank.py", "deaf", "pid", "sleep=60")
    launchers.pid(0), launchers.pid(1)
    begun = time.monotonic()
    popen.send_signal(signal.SIGTERM)
    popen.communicate(timeout=30)
    assert popen.returncode == 143
    assert 1 <= time.monotonic() - begun < 4
    assert launchers.left() == []


def test_a_second_signal_does_not_wait(launchers, two):
    popen = launchers.start(*two, "--grace=50", "rank.py", "deaf", "pid", "sleep=60")
    launchers.pid(0), launchers.pid(1)
    begun = time.monotonic()
    popen.send_signal(signal.SIGINT)
    time.sleep(0.3)
    popen.send_signal(signal.SIGINT)
    popen.communicate(timeout=30)
    assert time.monotonic() - begun < 4
    assert launchers.left() == []


def test_ranks_die_with_a_killed_launcher(launchers, two):
    popen = launchers.start(*two, "rank.py", "deaf", "pid", "sleep=60")
    launchers.pid(0), launchers.pid(1)
    popen.kill()
    popen.communicate(timeout=10)
    time.sleep(0.5)
    assert launchers.left() == []


def test_restart_goes_on_in_the_same_folder_with_resume(launchers, two):
    status, output = launchers.run(*two, "--max_restarts=2", "rank.py", "1:exit_unless_resumed=9", "say=fine")
    assert status == 0
    assert "restart 1 of 2" in output
    assert "restart 2" not in output
    assert "fine" in logs(launchers.folder)[1]
    assert not (launchers.folder / "train_parallel0_2").exists()


def test_a_log_belongs_to_one_job_until_its_last_process_ends(tmp_path, monkeypatch):
    def begin(seconds):
        return supervisor.start(Process("rank 0", 0, ("sleep", seconds), {}, tmp_path / "log"), append=True)

    first = begin("60")
    text = (tmp_path / "log").read_text()
    monkeypatch.setattr(supervisor, "LOG_WAIT", 0.1)
    with pytest.raises(InputError, match=f"{tmp_path}: another job, .* still writes log there; wait for its end or"):
        begin("0")
    assert (tmp_path / "log").read_text() == text
    monkeypatch.setattr(supervisor, "LOG_WAIT", 5.0)
    threading.Timer(0.3, first.kill).start()  # a restart while the process before is still being killed
    assert begin("0").wait() == 0
    assert first.wait() == -signal.SIGKILL
    assert (tmp_path / "log").read_text().count("rank 0: sleep") == 2


def test_the_end_of_a_log_is_that_of_the_last_attempt(tmp_path, caplog):
    process = Process("rank 0", 0, ("echo", "second"), {}, tmp_path / "log")
    (tmp_path / "log").write_text("# 2026-11-22 10:00:00 rank 0: echo\nfirst, cut off")
    supervisor.start(process, append=True).wait()
    caplog.set_level("INFO")
    supervisor.show_tail(process)
    assert "| second" in caplog.text
    assert "rank 0: echo second" in caplog.text
    assert "first" not in caplog.text


def test_restarts_end_and_a_wrong_input_is_not_tried_again(launchers, two):
    status, output = launchers.run(*two, "--max_restarts=1", "rank.py", "0:exit=9", "sleep=9")
    assert (status, output.count("exited with status 9: stopping")) == (9, 2)
    status, output = launchers.run(*two, "--max_restarts=1", "rank.py", "0:exit=2", "sleep=9")
    assert (status, output.count("exited with status 2: stopping")) == (2, 1)


def test_a_rank_that_never_starts_is_named(launchers, two):
    status, output = launchers.run(*two, "--start_timeout=2", "rank.py", "0:started", "sleep=60")
    assert status == 1
    assert "rank 1 on 127.0.0.1 did not start within 2 s" in output
    assert launchers.left() == []


def test_ranks_that_all_started_are_left_alone(launchers, two):
    assert launchers.run(*two, "--start_timeout=1", "rank.py", "started", "sleep=2")[0] == 0


def test_a_taken_folder_gets_a_number_and_nothing_is_overwritten(launchers, two):
    for words in ("first", "second", "third"):
        assert launchers.run(*two, "rank.py", f"say={words}")[0] == 0
    assert launchers.run(*two, "rank.py", "say=fourth", "--resume")[0] == 0
    first, second, third = (logs(launchers.folder, n)[0] for n in ("", "_2", "_3"))
    assert first.endswith("\nfirst\n")
    assert second.endswith("\nsecond\n")
    assert "\nthird\n" in third
    assert third.endswith("\nfourth\n")


def test_cores_are_shared_out(launchers, two):
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        pytest.skip("needs two cores")
    assert launchers.run(*two, "--bind_core", "rank.py", "cores")[0] == 0
    half = len(available) // 2
    assert f"cores {available[:half]}\n" in logs(launchers.folder)[0]
    assert f"cores {available[half:2 * half]}\n" in logs(launchers.folder)[1]


def test_a_full_disk_under_the_logs_is_named_and_not_tried_again(launchers, two, small_disk):
    words = *two, "--folder=disk/{rank}{number}", "--max_restarts=3", "rank.py"
    status, output = launchers.run(*words, "pid", "0:until=pid1", "0:fill", "sleep=60")
    assert status == 1
    assert f"the disk of {small_disk}/0 is full: the log may lack its end" in output
    assert "restart" not in output
    status, output = launchers.run(*words, "--resume")
    assert status == 2
    assert f"error: {small_disk}/0/log: No space left on device" in output
    assert launchers.left() == []


def test_a_script_that_is_not_there(launchers, two):
    status, output = launchers.run(*two, "absent.py")
    assert status == 2
    assert output.startswith("error: absent.py: no such script")
