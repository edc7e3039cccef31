"""Who is trusted to vouch for signers of models (`TOWPATH_MODEL_TRUST`), YAML or JSON. Places are relative to the file.

authorities: [acme-ca.pem]              # root certificates, in PEM: of a CA that certifies who may sign models
identities:
  - identity: https://github.com/acme/models/.github/workflows/release.yml@refs/heads/main
    issuer: https://token.actions.githubusercontent.com
    sigstore: sigstore.json             # the ClientTrustConfig of the Sigstore deployment that certifies it
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from towpath.adapters.keys_certificates import roots_of
from towpath.core import digest as digests
from towpath.core.errors import Misconfigured
from towpath.ports import Purpose, TrustedKey

_CONFIG: Final = "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json"
_SETTING: Final = "TOWPATH_MODEL_TRUST"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Named(_Part):
    identity: str = Field(min_length=1)
    issuer: str = Field(min_length=1)
    sigstore: str = Field(min_length=1)


class _File(_Part):
    authorities: tuple[str, ...] = ()
    identities: tuple[_Named, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Identity:
    """An identity, as the certificates of its deployment name it, with its issuer. `config`: as `Identified` has it."""

    key_id: str
    identity: str
    issuer: str
    config: str


@dataclass(frozen=True, kw_only=True)
class Trusted:
    """The file's content. `roots`: PEM. `entries`: what vouches, as keys are listed."""

    roots: str
    identities: tuple[Identity, ...]
    entries: Mapping[str, TrustedKey]


_State = tuple[tuple[Path, tuple[int, int, int]], ...]
"""Files, each with its number, and when it was written and put there: images and copies date their files at will."""


class Trust:
    """The file, read again when it or one that it names is another."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: tuple[_State, Trusted] | None = None

    def read(self) -> Trusted:
        """Raises `Misconfigured` for a file that cannot be read or says what is not understood."""
        if self._known is not None and self._known[0] == self._state([file for file, _ in self._known[0]]):
            return self._known[1]
        before = self._state([self._file])  # what is written while it is read is another
        found = self._parsed()
        home = self._file.parent
        roots = [home / name for name in found.authorities]
        configs = [home / one.sigstore for one in found.identities]
        state = (*before, *self._state([*roots, *configs]))
        changed = datetime.fromtimestamp(max(time for _, (_, _, time) in state) / 1e9, tz=UTC).isoformat()
        entries = [
            TrustedKey(key_id=key_id, purpose=Purpose.MODEL, pem=pem, added_at=changed, about=f"authority {name}")
            for file in roots
            for key_id, pem, name in roots_of(_text(file), file)
        ]
        identities = [
            Identity(
                key_id=identity_id(one.identity, one.issuer),
                identity=one.identity,
                issuer=one.issuer,
                config=_config(file),
            )
            for one, file in zip(found.identities, configs, strict=True)
        ]
        named = [
            TrustedKey(
                key_id=one.key_id,
                purpose=Purpose.MODEL,
                pem="",
                added_at=changed,
                about=f"identity {one.identity} of {one.issuer}",
            )
            for one in identities
        ]
        trusted = Trusted(
            roots="".join(entry.pem for entry in entries),
            identities=tuple(identities),
            entries={entry.key_id: entry for entry in (*entries, *named)},
        )
        self._known = (state, trusted)
        return trusted

    def _parsed(self) -> _File:
        try:
            document = yaml.safe_load(_text(self._file))
            found = _File.model_validate(document)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise _bad(self._file, f"{where}: {first['msg']}") from error
        except (ValueError, yaml.YAMLError) as error:
            raise _bad(self._file, " ".join(str(error).split())) from error
        if not found.authorities and not found.identities:
            raise _bad(self._file, "it trusts nobody")
        return found

    def _state(self, files: Sequence[Path]) -> _State:
        try:
            found = [(file, file.stat()) for file in files]
            return tuple((file, (it.st_ino, it.st_mtime_ns, it.st_ctime_ns)) for file, it in found)
        except OSError as error:
            raise _bad(Path(str(error.filename)), str(error.strerror)) from error


def identity_id(identity: str, issuer: str) -> str:
    """What an identity of an issuer is listed and revoked by: 32 hex digits."""
    return digests.of_json({"identity": identity, "issuer": issuer}).removeprefix(digests.PREFIX)[:32]


def _config(file: Path) -> str:
    text = _text(file)
    try:
        kind = json.loads(text)["mediaType"]
    except (ValueError, KeyError, TypeError) as error:
        raise _bad(file, f"it is no ClientTrustConfig: {error}") from error
    if kind != _CONFIG:
        raise _bad(file, f"it is no ClientTrustConfig, but {kind}")
    return text


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise _bad(file, " ".join(str(error).split())) from error


def _bad(file: Path, said: str) -> Misconfigured:
    return Misconfigured(
        f"{_SETTING}: {file} cannot be used: {said}.",
        value=str(file),
        valid=("authorities: [ROOT.pem]", "identities: [{identity: …, issuer: …, sigstore: CONFIG.json}]"),
        hint="Nobody is trusted by it until it is right; keys in the folder of the keys are.",
    )
