"""A real OpenID provider for the tests (`oidc_app`), on a free port of the loopback address."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_START_SECONDS = 30
_ATTEMPTS = 5  # another process may take the free port before the server does
_SECRET = "secret of a client that only tests have"
_CALLBACK = "http://127.0.0.1/callback"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """The code is read from where the provider would send the browser."""


_OPENER = urllib.request.build_opener(_NoRedirects)


@dataclass(kw_only=True)
class OidcServer:
    """A running provider. `stop` and `start` cut it off and bring it back, with new keys, on the same port."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def secret(self) -> str:
        """That of every client."""
        return _SECRET

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        tied = ["setpriv", "--pdeathsig=KILL", "--"] if shutil.which("setpriv") else []
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
        environment["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # plain HTTP, on loopback
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [*tied, sys.executable, str(Path(__file__).with_name("oidc_app.py")), str(self.port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError((self.folder / "log").read_text(errors="replace"))
            with suppress(OSError):
                self.published()
                return
            time.sleep(0.05)
        pytest.fail(f"The OpenID provider did not answer within {_START_SECONDS} s.", pytrace=False)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=10)
            self.process = None

    def published(self) -> list[dict[str, Any]]:
        """What it publishes."""
        found: list[dict[str, Any]] = self._call("/jwks")["keys"]
        return found

    def rotate(self) -> None:
        """Make new keys; those of before are published no more."""
        self._call("/test/rotate", {})

    def login(self, subject: str, *, client: str = "towpath", token: str = "access_token") -> str:
        """The token that a person gets by logging in: the authorization code flow with PKCE, without a browser."""
        verifier = uuid.uuid4().hex * 2
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = urllib.parse.urlencode(
            {
                "response_type": "code",
                "client_id": client,
                "redirect_uri": _CALLBACK,
                "scope": "openid profile",
                "login_hint": subject,
                "code_challenge": challenge,
                "code_challenge_method": "S256",
            }
        )
        with pytest.raises(urllib.error.HTTPError) as sent:
            _OPENER.open(f"{self.issuer}/authorize?{asked}", timeout=10)
        with sent.value:
            where = urllib.parse.urlsplit(sent.value.headers["Location"])
        code = urllib.parse.parse_qs(where.query)["code"][0]
        got = self._token(client, grant_type="authorization_code", code=code, code_verifier=verifier)
        return str(got[token])

    def machine(self, client: str) -> str:
        """The token that a program gets for itself: client credentials."""
        return str(self._token(client, grant_type="client_credentials")["access_token"])

    def signed(self, **claims: Any) -> str:
        """A token with those claims and no others, signed with the key that signs access tokens."""
        data = json.dumps(claims).encode()
        asked = urllib.request.Request(f"{self.issuer}/test/sign", data, {"Content-Type": "application/json"})
        with _OPENER.open(asked, timeout=10) as answer:
            return str(answer.read().decode())

    def _token(self, client: str, **asked: str) -> dict[str, Any]:
        fields = {"client_id": client, "client_secret": _SECRET, **asked}
        if "code" in asked:
            fields["redirect_uri"] = _CALLBACK
        return self._call("/token", fields)

    def _call(self, path: str, fields: dict[str, str] | None = None) -> dict[str, Any]:
        data = None if fields is None else urllib.parse.urlencode(fields).encode()
        with _OPENER.open(f"{self.issuer}{path}", data=data, timeout=10) as answer:
            document: dict[str, Any] = json.load(answer)
        return document


def _run(folder: Path) -> OidcServer:
    for attempt in range(_ATTEMPTS):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        home = folder / str(attempt)
        home.mkdir()
        server = OidcServer(folder=home, port=port)
        try:
            server.start()
        except RuntimeError as error:
            if "in use" in str(error):
                continue
            pytest.fail(f"The OpenID provider ended instead of starting: {error}", pytrace=False)
        return server
    pytest.fail(f"The OpenID provider found its port taken {_ATTEMPTS} times.", pytrace=False)


@pytest.fixture(scope="session")
def oidc_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OidcServer]:
    """A provider that runs as long as the tests, with the same keys all the time."""
    server = _run(tmp_path_factory.mktemp("oidc"))
    yield server
    server.stop()


@pytest.fixture
def mortal_oidc(tmp_path: Path) -> Iterator[Callable[[], OidcServer]]:
    """Starts providers of the test's own, to be rotated, stopped and started by it."""
    running: list[OidcServer] = []

    def start() -> OidcServer:
        folder = tmp_path / f"oidc-{len(running)}"
        folder.mkdir()
        running.append(_run(folder))
        return running[-1]

    yield start
    for server in running:
        server.stop()
