"""The private folder in which MindSpore's own cache works, and its switches. No MindSpore is imported here."""
from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
from pathlib import Path

PATH = "MS_COMPILER_CACHE_PATH"
# On while a graph is compiled. FORCE: whether a graph may be loaded is decided here, not by MindSpore's own check.
SWITCHES = {"MS_COMPILER_CACHE_ENABLE": "1", "MS_DEV_FORCE_USE_COMPILE_CACHE": "1"}


@functools.cache
def claim() -> Path:
    """Name the folder to MindSpore, which reads it once, before it compiles anything; the folder ends with the process.

    MindSpore's compiler warns at every graph that it loads or that it finds no file for. Called before the import of
    MindSpore, this silences its warnings; the import reads the switch.
    """
    folder = tempfile.mkdtemp(prefix="mindseg-graphs-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ[PATH] = folder
    os.environ.setdefault("MS_SUBMODULE_LOG_v", "{PIPELINE:3}")
    return Path(folder)
