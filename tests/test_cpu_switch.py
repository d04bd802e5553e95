"""Importing the package limits oneDNN's instruction set, unless the user did so under one of oneDNN's two names."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

NAMES = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")


@pytest.mark.parametrize(("set_by_user", "limit"), [
    ({}, "AVX2"), ({"ONEDNN_MAX_CPU_ISA": "AVX"}, "AVX"), ({"DNNL_MAX_CPU_ISA": "AVX"}, "AVX"),
    ({"ONEDNN_MAX_CPU_ISA": "AVX", "DNNL_MAX_CPU_ISA": "SSE41"}, "AVX")])  # oneDNN prefers the newer name, too
def test_the_limit_is_the_users_or_avx2(set_by_user, limit):
    environment = {name: value for name, value in os.environ.items() if name not in NAMES} | set_by_user
    ran = subprocess.run([sys.executable, "-c", "import os, src; print(os.environ['ONEDNN_MAX_CPU_ISA'])"], text=True,
                         capture_output=True, env=environment, cwd=Path(__file__).parents[1], check=True)
    assert ran.stdout.strip() == limit
