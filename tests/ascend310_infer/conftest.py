"""The C++ program, built once as it is and once with sanitizers."""
from pathlib import Path

import pytest

from tests.ascend310_infer.building import CACHE, CROSS, build


@pytest.fixture(scope="session")
def program() -> Path:
    return build(CACHE / "build" if CROSS else CACHE)


@pytest.fixture(scope="session")
def sanitized(request) -> Path:
    if CROSS:  # the sanitizers' own memory layout does not fit qemu-user's
        return request.getfixturevalue("program")
    return build(CACHE / "sanitized", "-DSANITIZE=ON", "-DCMAKE_BUILD_TYPE=Debug")
