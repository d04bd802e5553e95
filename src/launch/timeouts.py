"""The time-outs of a job: the environment variables that HCCL, MindSpore and its scheduler read. A pure function."""
from __future__ import annotations

from collections.abc import Mapping


def timeouts(compile_seconds: int, start_seconds: int, environ: Mapping[str, str]) -> dict[str, str]:
    """Derive every time-out of a job from two numbers, so that none is shorter than what it waits for.

    Ranks compile their graphs at different speeds, and rank 0 may evaluate alone: until the slowest is back, the others
    wait in a collective. HCCL gives up on that after HCCL_EXEC_TIMEOUT (multiples of 68, up to 17340) and, when links
    are set up, after HCCL_CONNECT_TIMEOUT (120 to 7200); MindSpore's CPU collectives after MS_CPU_COMM_OP_TIMEOUT,
    30 by default (measured: a rank 45 s late ended the job). Its scheduler gives up a rank whose signs of life stop for
    MS_NODE_TIMEOUT, 300 by default (measured: a compilation of six minutes on a crowded machine ended the job). The
    launchers themselves notice a dead rank or host within seconds. Variables that the user has set are kept.

    Args:
        compile_seconds: longest time that one rank may be behind another.
        start_seconds: longest time from the first rank's start to the last one's.
    """
    steps = -(-compile_seconds // 68)
    computed = {"HCCL_CONNECT_TIMEOUT": min(max(compile_seconds, start_seconds, 120), 7200),
                "HCCL_EXEC_TIMEOUT": min(max(steps, 1) * 68, 17340),
                "MS_CPU_COMM_OP_TIMEOUT": compile_seconds,
                "MS_RECEIVE_MSG_TIMEOUT": compile_seconds,
                "MS_NODE_TIMEOUT": compile_seconds,
                "MS_HEARTBEAT_RETRY_TIMEOUT": compile_seconds,
                "MS_TOPO_TIMEOUT": start_seconds}
    return {name: environ.get(name) or str(value) for name, value in computed.items()}
