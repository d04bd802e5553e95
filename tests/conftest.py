"""Test session: the CPU convolution switch, own caches, slow tests on demand, groups of tests, reference material."""
import os
import sys
import tempfile
import weakref
from contextlib import contextmanager
from pathlib import Path

import pytest

import src  # noqa: F401  sets the convolution switch before anything imports mindspore
from tests.skips import (  # noqa: F401  hooks: CI fails on skips that are not listed there
    SHARED_IS_MISSING,
    pytest_make_collect_report,
    pytest_runtest_makereport,
)

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
# Tests of these folders never run beside each other: the first share a build folder, the second start ranks that are
# bound to cores and timed.
ONE_AT_A_TIME = ("ascend310_infer", "launch")
if "PYTEST_XDIST_WORKER" in os.environ:  # several test processes share the cores
    os.environ["OMP_NUM_THREADS"] = "1"
else:
    os.environ.setdefault("OMP_NUM_THREADS", str(min(2, os.cpu_count() or 1)))


def pytest_configure(config):
    """Tests find none of the user's caches (compiled graphs, indices) and leave none; workers share those of a run."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    folder = tempfile.TemporaryDirectory(prefix="caches", ignore_cleanup_errors=True)  # ranks may still end
    os.environ["XDG_CACHE_HOME"] = folder.name
    config.add_cleanup(folder.cleanup)


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run only the tests that are marked slow")
    parser.addoption("--strict_skips", action="store_true", help="fail skips that tests/skips.py does not list")


def pytest_collection_modifyitems(config, items):
    """Slow tests run with --slow, and then alone: the two calls together run everything once."""
    wanted = config.getoption("--slow")
    left_out = [item for item in items if bool(item.get_closest_marker("slow")) != wanted]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With --dist=loadfile a process gets a whole file of tests, or a whole folder of `ONE_AT_A_TIME`."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.split("::")[0]
            return next((folder for folder in ONE_AT_A_TIME if path.startswith(f"tests/{folder}/")), path)

    return Scheduling(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real images and reference arrays; a test that needs it skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(SHARED_IS_MISSING)
    return SHARED


@pytest.fixture(autouse=True)
def default_mode():
    """Every test starts in MindSpore's own mode, whatever the one before it started."""
    yield
    if "mindspore" in sys.modules:
        import mindspore as ms

        if ms.get_context("mode") != ms.PYNATIVE_MODE:
            ms.set_context(mode=ms.PYNATIVE_MODE)


@contextmanager
def running_mode(name: str):
    """MindSpore's mode for a while: "GRAPH", as the programs run, or "PYNATIVE", where compiling costs the most."""
    import mindspore as ms

    before = ms.get_context("mode")
    ms.set_context(mode=getattr(ms, f"{name}_MODE"))
    try:
        yield
    finally:
        ms.set_context(mode=before)


@pytest.fixture
def graph_mode():
    with running_mode("GRAPH"):
        yield


@pytest.fixture
def eager():
    with running_mode("PYNATIVE"):
        yield


def watch_decoding(module, monkeypatch) -> list[weakref.ref]:
    """References to the images that `module` decodes from now on, each of which must be gone when the next one is."""
    from src.data.read_ahead import decode_record

    decoded: list[weakref.ref] = []

    def decode(*arguments):
        assert all(reference() is None for reference in decoded)
        image = decode_record(*arguments)
        decoded.append(weakref.ref(image))
        return image

    monkeypatch.setattr(module, "decode_record", decode)
    return decoded
