"""The findings as JSON for a bug report, without secrets and without the names of users."""
from __future__ import annotations

import getpass
import json
import platform
import re
from collections.abc import Iterable, Mapping

from src.doctor.finding import Finding

SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL|AUTH", re.I)
# Variables that say something about a job; all others stay out.
SHOWN = re.compile(r"(MS|HCCL|ASCEND|RANK|DEVICE|GLOG|OMP|ONEDNN|SLURM|VC|MA|KUBERNETES)_\w+|"
                   r"LD_LIBRARY_PATH|PYTHONPATH|PATH|WORKERS|LITE_HOME|VIRTUAL_ENV", re.I)
HIDDEN = "[hidden]"
SHORTEST_SECRET = 6  # a shorter value would black out words by chance


class Censor:
    """Takes secrets and the names of users out of texts.

    A variable whose name says that it is a secret loses its value, wherever else that value may stand; so do passwords
    in addresses (`https://user:password@host`). The names of users go from paths.
    """

    def __init__(self, env: Mapping[str, str], user: str):
        self.secrets = sorted((value for name, value in env.items()
                               if SECRET.search(name) and len(value) >= SHORTEST_SECRET), key=len, reverse=True)
        self.names = sorted({name for name in (user, env.get("USER"), env.get("LOGNAME"), env.get("SUDO_USER"))
                             if name and name != "root"}, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, HIDDEN)
        text = re.sub(r"(\w+://)[^/\s@]+@", rf"\1{HIDDEN}@", text)
        text = re.sub(r"/(home|Users)/[^/\s:;,]+", r"/\1/USER", text)
        for name in self.names:
            text = re.sub(rf"(?<=/){re.escape(name)}(?=[/\s:;,]|$)", "USER", text)
        return text

    def variables(self, env: Mapping[str, str]) -> dict[str, str]:
        """What of the environment is shown."""
        return {name: HIDDEN if SECRET.search(name) else self(env[name])
                for name in sorted(env) if SHOWN.fullmatch(name)}


def user_name() -> str:
    """Who runs this; "" where nobody knows, as in a container with a bare user number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def to_json(findings: Iterable[Finding], env: Mapping[str, str], *, user: str | None = None) -> str:
    """All findings, the variables of the job and the system as one JSON object."""
    censor = Censor(env, user_name() if user is None else user)
    listed = [{"check": f.check, "level": f.level, "text": censor(f.text), "remedy": censor(f.remedy)}
              for f in findings]
    system = {"system": platform.platform(), "machine": platform.machine(), "python": platform.python_version()}
    return json.dumps({"findings": listed, "environment": censor.variables(env), **system}, indent=2,
                      ensure_ascii=False)
