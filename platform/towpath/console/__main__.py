"""The API's process: `python -m towpath.console CONFIG`, where CONFIG is JSON of `ServerConfig`.

One JSON document goes to stdout: where it listens, or what was wrong. It ends on SIGTERM, SIGINT, or when its standard
input ends, as it does when whoever started it is gone.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import uvicorn

from towpath import telemetry, wiring
from towpath.console.app import create_app
from towpath.console.config import ServerConfig
from towpath.core.errors import BadInput, Denied, TowpathError
from towpath.settings import Settings
from towpath.stages.access import Doors
from towpath.verbs.desk import Office

_DRAIN_SECONDS = 20
_KEEP_ALIVE_SECONDS = 30


class _Server(uvicorn.Server):
    """Says where it listens once it does."""

    def __init__(self, config: uvicorn.Config, said: dict[str, Any]) -> None:
        super().__init__(config)
        self._said = said

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            _say(self._said)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        self._captured_signals.clear()  # else it would end by the signal, which is not how a good end looks


def main(arguments: list[str]) -> int:
    """Run the API until it is stopped; the exit code."""
    telemetry.silence()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    for name in ("uvicorn", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    config = ServerConfig.model_validate_json(arguments[0])
    try:
        settings = Settings.read(os.environ, folder=Path.cwd())
        with (
            closing(Office.open(settings, served=True)) as office,
            closing(wiring.open_claims(settings)) as claims,
            closing(_bound(config)) as listening,
        ):
            is_open = _require_closed(office, config)
            scheme = "https" if config.tls_certificate else "http"
            host = f"[{config.host}]" if ":" in config.host else config.host
            port = listening.getsockname()[1]
            said = {"url": f"{scheme}://{host}:{port}", "port": port, "pid": os.getpid(), "open": is_open}
            server = _Server(_uvicorn(create_app(office, claims, config), config), said)
            threading.Thread(target=_until_alone, args=(server,), daemon=True).start()
            server.run(sockets=[listening])
    except TowpathError as error:
        _say({"code": error.code, "error": error.message, "value": str(error.value), "hint": error.hint})
        return 1
    return 0


def _uvicorn(app: Any, config: ServerConfig) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=config.trust_proxy is not None,
        forwarded_allow_ips=config.trust_proxy,
        ssl_certfile=config.tls_certificate,
        ssl_keyfile=config.tls_key,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )


def _require_closed(office: Office, config: ServerConfig) -> bool:
    """Whether the installation is open. Raises `Denied` for one that would be open to others than this machine."""
    closed = Doors(tokens=office.tokens, provider=office.provider).closed
    if not closed and not config.loopback:
        raise Denied(
            f"The installation is open: no token was ever made, so whoever reaches {config.host} would be anybody.",
            value=config.host,
            hint="Make the first token (towpath token create), name an OpenID provider (TOWPATH_OIDC_ISSUER), "
            "or serve this machine alone: --host 127.0.0.1.",
        )
    if not closed:
        logging.getLogger("towpath.console").warning(
            "The installation is open: every program of this machine may do everything under the name that it claims. "
            "Keep it from proxies. The first token closes it: towpath token create."
        )
    return not closed


def _bound(config: ServerConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((config.host, config.port))
    except OSError as error:
        listening.close()
        raise BadInput(
            f"{config.host}:{config.port} cannot be listened on: {error.strerror}.",
            value=f"{config.host}:{config.port}",
            hint="Name another port; 0 takes any that is free.",
        ) from error
    return listening


def _until_alone(server: uvicorn.Server) -> None:
    """Whoever started us holds the other end of our standard input."""
    while os.read(0, 1024):
        pass
    server.should_exit = True


def _say(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
