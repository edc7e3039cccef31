"""A controller with a short lease, in a process of its own: `python -m gateway.controller LEASE EVERY`, in seconds.

`towpath rollout run` gives no lease below 90 s. Settings come from the environment.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import timedelta
from pathlib import Path

from gateway.served import PROJECT
from towpath import wiring
from towpath.cli.rollout_opening import open_canary
from towpath.settings import Settings
from towpath.stages.canary import tick_once


def main(lease: timedelta, every: float) -> None:
    """Tick until killed."""
    ports = open_canary(Settings.read(os.environ, folder=Path.cwd()))
    while True:
        tick_once(ports, PROJECT, wiring.now(), lease=lease)
        time.sleep(every)


if __name__ == "__main__":
    main(timedelta(seconds=float(sys.argv[1])), float(sys.argv[2]))
