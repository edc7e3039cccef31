"""The public keys of an OpenID provider: found by its discovery document, kept, fetched again when a key is unknown.

OpenID Connect Discovery 1.0 (section 4), JSON Web Key (RFC 7517). Anybody can make up a token, so an unknown key id
costs the provider at most one look in `SPACING` seconds. While the provider is down, the keys that it published last
hold for `STALE` seconds: a key that it withdrew meanwhile, at most as long.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from typing import IO, Any, Final
from urllib.parse import urlsplit

import jwt

from towpath.core.errors import DeclarationError, Misconfigured, Unauthenticated, Unreachable

FRESH: Final = 600.0
"""Seconds for which keys are used without asking again."""
SPACING: Final = 5.0
"""Seconds between two requests to the provider, whatever tokens say and whether it answers or not."""
STALE: Final = 24 * 3600.0
"""Seconds for which the last known keys hold while the provider does not answer."""
ALGORITHMS: Final = {
    "RS256": ("RSA", None),
    "PS256": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""What is accepted, with the key type and curve that each takes. Asymmetric ones alone: a public key is no secret."""

_WELL_KNOWN: Final = "/.well-known/openid-configuration"
_TIMEOUT: Final = 5.0
_LARGEST: Final = 1_000_000
_RSA_BITS: Final = 2048

_logger = logging.getLogger(__name__)

Fetch = Callable[[str], Any]


@dataclass(frozen=True, kw_only=True)
class _Published:
    keys: tuple[dict[str, Any], ...]
    at: float


class ProviderKeys:
    """The keys of the provider at `issuer`. Safe for threads; who has a key that is known waits for no request."""

    def __init__(self, issuer: str, *, fetch: Fetch | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        _require_safe(issuer, "TOWPATH_OIDC_ISSUER")
        self._issuer = issuer
        self._fetch = fetch or fetch_json
        self._clock = clock
        self._published: _Published | None = None
        self._asked: float | None = None
        self._fault = ""
        self._asking = threading.Lock()

    def key(self, key_id: str | None, algorithm: str) -> jwt.PyJWK:
        """The key with that id that fits the algorithm; without an id, the only one that fits.

        Raises `Unauthenticated` when there is none, and `Unreachable` while no keys are known.
        """
        found = self._known(key_id, algorithm)
        if found is None or not self._fresh():
            # Who has a key goes on with it when another asks already.
            self._ask(wait=found is None)
            found = self._known(key_id, algorithm)
        if found is not None:
            return found
        if self._usable() is None:
            raise Unreachable(
                f"The OpenID provider {self._issuer} does not answer, and its keys are not known: {self._fault}.",
                value=self._issuer,
                hint="Try again later, or correct TOWPATH_OIDC_ISSUER.",
            )
        raise Unauthenticated(
            "The token is signed with a key that the OpenID provider does not publish for its algorithm.",
            hint="Log in again: the provider may have changed its keys.",
        )

    def _usable(self) -> _Published | None:
        published = self._published
        return published if published is not None and self._clock() - published.at <= STALE else None

    def _fresh(self) -> bool:
        published = self._published
        return published is not None and self._clock() - published.at <= FRESH

    def _known(self, key_id: str | None, algorithm: str) -> jwt.PyJWK | None:
        published = self._usable()
        fitting = [
            key
            for key in (published.keys if published is not None else ())
            if (key_id is None or key.get("kid") == key_id) and _fits(key, algorithm)
        ]
        return jwt.PyJWK(fitting[0], algorithm) if len(fitting) == 1 else None

    def _ask(self, *, wait: bool) -> None:
        """Fetch the keys, unless that was tried a moment ago."""
        if not self._asking.acquire(blocking=wait):
            return
        try:
            if self._asked is not None and self._clock() - self._asked < SPACING:
                return
            self._asked = self._clock()
            keys = self._discovered()
            self._published = _Published(keys=keys, at=self._asked)
        except (Unreachable, Misconfigured) as error:
            self._fault = error.message.rstrip(".")
            _logger.warning("keys of %s cannot be fetched: %s", self._issuer, error.message)
        finally:
            self._asking.release()

    def _discovered(self) -> tuple[dict[str, Any], ...]:
        document = self._fetch(self._issuer.rstrip("/") + _WELL_KNOWN)
        if not isinstance(document, dict) or document.get("issuer") != self._issuer:
            raise Misconfigured(
                "its discovery document names another issuer", value=self._issuer, hint="Correct TOWPATH_OIDC_ISSUER."
            )
        address = document.get("jwks_uri")
        try:
            _require_safe(str(address), "jwks_uri")
        except DeclarationError as error:
            raise Misconfigured(error.message) from error
        published = self._fetch(str(address))
        keys = published.get("keys") if isinstance(published, dict) else None
        if not isinstance(keys, list):
            raise Misconfigured("it publishes no set of keys")
        return tuple(key for key in keys if isinstance(key, dict))


def _fits(key: dict[str, Any], algorithm: str) -> bool:
    """Whether a published key is for signatures of that algorithm, and strong enough."""
    kind, curve = ALGORITHMS[algorithm]
    if key.get("kty") != kind or (curve is not None and key.get("crv") != curve):
        return False
    if key.get("use", "sig") != "sig" or key.get("alg", algorithm) != algorithm:
        return False
    if "verify" not in key.get("key_ops", ["verify"]):
        return False
    try:
        public = jwt.PyJWK(key, algorithm).key
    except jwt.PyJWTError:
        return False
    return kind != "RSA" or int(getattr(public, "key_size", 0)) >= _RSA_BITS


def _require_safe(address: str, named: str) -> None:
    """Raises `DeclarationError` for an address that is neither HTTPS nor on this machine."""
    try:
        parts = urlsplit(address)
        host, user = parts.hostname or "", parts.username
    except ValueError:
        parts, host, user = urlsplit(""), "", None
    safe = parts.scheme == "https" or (parts.scheme == "http" and _loopback(host))
    if not (safe and host and user is None and not parts.fragment):
        raise DeclarationError(
            f"{named} is no address that is safe to ask.",
            value=address,
            valid=["https://…", "http://127.0.0.1… on this machine"],
            hint="Whoever can change what the provider answers on the way can sign as anybody.",
        )


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """A redirect could lead anywhere, and out of HTTPS: it is an error like any other status."""


_OPENER: Final = urllib.request.build_opener(_NoRedirects)


def fetch_json(address: str) -> Any:
    """What the address answers, as JSON. Raises `Unreachable`, and `Misconfigured` for what is no JSON."""
    request = urllib.request.Request(address, headers={"Accept": "application/json"})  # noqa: S310 - checked: HTTPS
    try:
        with _OPENER.open(request, timeout=_TIMEOUT) as answer:
            body = _bounded(answer)
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise Unreachable(f"{address} does not answer: {reason}.", value=address) from error
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Misconfigured(f"{address} answers no JSON.", value=address) from error


def _bounded(answer: IO[bytes]) -> bytes:
    """The whole body, if it comes soon and is not too long: a drip would hold us for ever."""
    parts, size, end = [], 0, time.monotonic() + 2 * _TIMEOUT
    while chunk := answer.read(65_536):
        parts.append(chunk)
        size += len(chunk)
        if size > _LARGEST or time.monotonic() > end:
            raise ValueError("its answer is too long or too slow")
    return b"".join(parts)
