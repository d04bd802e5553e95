"""The C++ program, built once as it is and once with sanitizers."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def build(folder: Path, *flags: str) -> Path:
    """Build the program with build.sh and return its path; what is there already is only brought up to date."""
    missing = [word for word in ("cmake", "g++", "make") if not shutil.which(word)]
    missing += [name for name in ("nlohmann/json.hpp", "opencv4") if not Path("/usr/include", name).exists()]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    pytest.importorskip("openvino")
    ran = subprocess.run([ROOT / "ascend310_infer/build.sh", folder, *flags], capture_output=True, text=True,
                         env=os.environ | {"PYTHON": sys.executable})
    assert ran.returncode == 0, ran.stderr[-4000:]
    assert "warning:" not in ran.stderr
    return Path(ran.stdout.strip())


@pytest.fixture(scope="session")
def program() -> Path:
    return build(ROOT / "ascend310_infer/build")


@pytest.fixture(scope="session")
def sanitized() -> Path:
    return build(ROOT / "ascend310_infer/build/sanitized", "-DSANITIZE=ON", "-DCMAKE_BUILD_TYPE=Debug")
