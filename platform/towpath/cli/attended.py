"""A server in a process of its own, attended in the foreground: started, heard, and ended by Ctrl-C or with us."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from towpath.core.errors import BadInput, Denied, TowpathError, Unreachable

_ERRORS: Final[Mapping[str, type[TowpathError]]] = {kind.code: kind for kind in (BadInput, Denied)}
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def attend(module: str, config: Mapping[str, Any], *, named: str, say: Callable[[dict[str, Any]], None]) -> None:
    """Run `python -m module CONFIG` until it is stopped; `say` is told what its first line says, a JSON object.

    Raises what that line says went wrong, and `Unreachable` when it ends by itself.
    """
    process = subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", module, json.dumps(config)],
        stdin=subprocess.PIPE,  # it ends when this end is closed, as it is when we are killed
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C reaches us alone, and we let it finish
    )
    before = {number: signal.signal(number, lambda *_: process.terminate()) for number in _SIGNALS}
    try:
        if said := _first(process):
            say(said)
        code = process.wait()
    finally:
        process.terminate()
        process.wait()
        for number, handler in before.items():
            signal.signal(number, handler)
    if code:
        raise Unreachable(f"The {named} ended by itself, with exit code {code}.", value=code, hint="Its log says why.")


def _first(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """What it says of itself; nothing when it was stopped while it started."""
    assert process.stdout is not None
    line = process.stdout.readline()
    said: dict[str, Any] = json.loads(line) if line.strip() else {}
    if "error" in said:
        kind = _ERRORS.get(said["code"], Unreachable)
        raise kind(said["error"], value=said["value"], hint=said["hint"])
    return said
