"""Prefect's deployments as its API shows them, and as a prefect.yaml declares them.

Over plain HTTP: importing Prefect takes seconds, and four fields are wanted.
"""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from towpath.core.errors import DeclarationError, Misconfigured, TowpathError, Unreachable

_SECONDS = 5


class PrefectDeployments:
    """The port `Deployments`. `url` is that of Prefect's API; `auth` its shared user and password."""

    def __init__(self, file: Path, url: str, *, auth: str | None = None) -> None:
        self._file = file
        self._url = url.rstrip("/")
        self._auth = auth

    def declared(self, project: str) -> Mapping[str, Mapping[str, str]]:
        """The file's deployments of that project, by flow and name. Raises `DeclarationError`."""
        try:
            document = yaml.safe_load(self._file.read_text(encoding="utf-8"))
            found = {}
            for one in document["deployments"]:
                if project in (one["name"], *one.get("tags", ())):
                    flow = str(one["entrypoint"]).rpartition(":")[2].replace("_", "-")
                    found[f"{flow}/{one['name']}"] = _described(one, one.get("schedules") or [])
        except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
            raise DeclarationError(
                f"{self._file.name} is no file of Prefect's deployments: {error}", value=str(self._file)
            ) from error
        return found

    def deployed(self, wanted: Mapping[str, Mapping[str, str]]) -> Mapping[str, Mapping[str, str]]:
        """Those of the wanted ones that Prefect has. Raises `Unreachable` and `Misconfigured`."""
        return {name: shown for name in wanted if (shown := self._ask(name)) is not None}

    def _ask(self, name: str) -> Mapping[str, str] | None:
        request = urllib.request.Request(f"{self._url}/deployments/name/{quote(name)}")  # noqa: S310 - ours
        if self._auth:
            request.add_header("authorization", f"Basic {base64.b64encode(self._auth.encode()).decode()}")
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
                found = json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404:
                    return None
                raise _refused(error.code) from error
        except (OSError, ValueError) as error:
            raise Unreachable(
                f"Prefect's API does not answer: {type(error).__name__}.", hint="Mend PREFECT_API_URL, or start it."
            ) from error
        schedules = [{**one["schedule"], "active": one["active"]} for one in found["schedules"]]
        return {**_described(found, schedules), "paused": str(bool(found["paused"])).lower()}


def _refused(code: int) -> TowpathError:
    if code in (401, 403):
        return Misconfigured("Prefect's API refuses us.", value=code, hint="Set PREFECT_API_AUTH_STRING.")
    return Unreachable(f"Prefect's API answers {code}.", value=code)


def _described(one: Mapping[str, Any], schedules: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What decides what runs, when, and with what."""
    return {
        "entrypoint": str(one["entrypoint"]),
        "parameters": json.dumps(one.get("parameters") or {}, sort_keys=True),
        "schedules": ", ".join(sorted(_schedule(item) for item in schedules)) or "none",
        "paused": "false",
    }


def _schedule(one: Mapping[str, Any]) -> str:
    when = f"cron {one['cron']}" if one.get("cron") else f"every {float(one.get('interval') or 0):g} s"
    return when if one.get("active", True) else f"{when} (off)"
