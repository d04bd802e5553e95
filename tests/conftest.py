"""Test session: the CPU convolution switch first, slow tests on demand, the reference material's place."""
import os
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

import src  # noqa: F401  sets the convolution switch before anything imports mindspore

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
os.environ.setdefault("OMP_NUM_THREADS", str(min(2, os.cpu_count() or 1)))


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run only the tests that are marked slow")


def pytest_collection_modifyitems(config, items):
    """Slow tests run with --slow, and then alone: the two calls together run everything once."""
    wanted = config.getoption("--slow")
    left_out = [item for item in items if bool(item.get_closest_marker("slow")) != wanted]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real images and reference arrays; a test that needs it skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("needs the reference material in ../shared, which is not there")
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
