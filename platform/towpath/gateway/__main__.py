"""The gateway's parent process: `python -m towpath.gateway CONFIG`, where CONFIG is JSON of `GatewayConfig`.

One JSON document goes to stdout: where it listens, or what was wrong. It ends on SIGTERM, SIGINT, or when its standard
input ends, as it does when whoever started it is gone.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path

import msgspec

from towpath.core.errors import TowpathError
from towpath.gateway.supervise import Gateway
from towpath.settings import Settings


class GatewayConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What to serve and where; settings come from the environment."""

    projects: list[str]
    host: str = "127.0.0.1"
    port: int = 0
    workers: int = 1
    log: bool = True


def main(arguments: list[str]) -> int:
    """Run the gateway until it is stopped; the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    config = msgspec.json.decode(arguments[0], type=GatewayConfig)
    gateway = None
    try:
        gateway = Gateway(
            Settings.read(os.environ, folder=Path.cwd()),
            [Path(folder) for folder in config.projects],
            host=config.host,
            port=config.port,
            workers=config.workers,
            log=config.log,
        )
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, gateway.stop)
        threading.Thread(target=_until_alone, args=(gateway,), daemon=True).start()
        gateway.start()
        _say({"url": gateway.url, "port": gateway.port, "pid": os.getpid(), "workers": gateway.pids})
        gateway.wait()
    except TowpathError as error:
        _say({"code": error.code, "error": error.message, "value": str(error.value), "hint": error.hint})
        return 1
    finally:
        if gateway is not None:
            gateway.close()
    return 0


def _until_alone(gateway: Gateway) -> None:
    while os.read(0, 1_024):
        pass
    gateway.stop()


def _say(document: object) -> None:
    sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
