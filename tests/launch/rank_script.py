"""A rank without MindSpore that does what each word of its command line says, in order; RANK:word is for one rank."""
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

rank = os.environ["RANK_ID"]
folder = Path(__file__).parent
for word in sys.argv[1:]:
    who, _, rest = word.partition(":")
    if who.isdigit():
        if who != rank:
            continue
        word = rest
    what, _, value = word.partition("=")
    if what == "env":
        print(f"{value}={os.environ.get(value)}", flush=True)
    elif what == "say":
        print(value, flush=True)
    elif what == "cores":
        print("cores", sorted(os.sched_getaffinity(0)), flush=True)
    elif what == "started":
        Path(os.environ["LAUNCH_STARTED_FILE"]).touch()
    elif what == "progress":
        Path(os.environ["LAUNCH_STARTED_FILE"]).write_text(value)
    elif what == "child":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)", str(folder)])
    elif what == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif what == "save":
        def save(*_):
            print("saved", flush=True)
            sys.exit(0)
        signal.signal(signal.SIGTERM, save)
    elif what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif what in ("ended", "child_ended"):
        Path(os.environ["LAUNCH_STATUS_FILE"]).write_text(f"{os.getpid() + (what == 'child_ended')} {value}")
    elif what == "pid":
        (folder / f"pid{rank}").write_text(str(os.getpid()))
    elif what == "sleep":
        time.sleep(float(value))
    elif what == "exit":
        sys.exit(int(value))
    elif what == "fill":
        while True:
            print("x" * 1000, flush=True)
    elif what == "until":
        while not (folder / value).exists():
            time.sleep(0.05)
    elif what == "exit_unless_resumed" and "--resume" not in sys.argv:
        sys.exit(int(value))
