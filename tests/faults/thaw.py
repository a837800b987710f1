"""Freeze a file system, and thaw it again, whatever becomes of whoever asked for it.

``python thaw.py MOUNT SECONDS``: prints a line when it is frozen; thaws after so long at the latest, or
when standard input ends. Signals that ask it to end are not listened to meanwhile: it ends by itself.
"""

from __future__ import annotations

import select
import signal
import subprocess
import sys


def main(mount: str, seconds: float) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        subprocess.run(["fsfreeze", "--freeze", mount], check=True, timeout=30)
        print("frozen", flush=True)
        select.select([sys.stdin], [], [], seconds)
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", mount], check=False, timeout=30)
    print("thawed", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
