"""The model's supply chain, as ports: what reads a model's files before they are loaded, signs them and lists parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue

from towpath.core.bill import Bill
from towpath.core.evidence import Finding, Outcome
from towpath.core.keyless import Keyless
from towpath.core.statement import Claims
from towpath.ports import CertifiedKey, Keys, Stamp, TokenKey
from towpath.ports.keys import Signatory

FORMAT, SCAN, SIGNATURE = "register.format", "register.scan", "register.signature"


class Scanner(Protocol):
    """Reads the files of a model as bytes; nothing of them is loaded."""

    def inspect(self, path: Path, *, subject: str) -> tuple[Finding, ...]:
        """One finding of `register.format` and one of `register.scan` about a folder or a file.

        What is not known to be safe is refused, and so is what cannot be read.
        """
        ...


class Signer(Protocol):
    """OpenSSF model signing: one signature over all files of a folder."""

    def sign(self, folder: Path, *, key: Path | TokenKey | CertifiedKey | Keyless, bundle: Path) -> None:
        """Sign every file of the folder with a private key, of a PEM file or on a token, or as an identity; write the
        Sigstore bundle."""
        ...

    def verify(self, folder: Path, *, key: Signatory, bundle: Path) -> None:
        """Raises `IntegrityError` that names the files that are changed, missing or not signed."""
        ...


class Statements(Protocol):
    """in-toto statements in DSSE envelopes."""

    def signed(self, claims: Claims, *, model_signature: str, keys: Keys) -> tuple[dict[str, JsonValue], Stamp]:
        """The statement of these claims, signed as models are, as an envelope in JSON; and the signature."""
        ...


class Bills(Protocol):
    """Bills of materials."""

    def write(self, bill: Bill, target: Path) -> Path:
        """Write it; raises `BadInput` for one that its own format does not allow."""
        ...


@dataclass(frozen=True, kw_only=True)
class Supply:
    """Every port of the supply chain."""

    scanner: Scanner
    signer: Signer
    statements: Statements
    bills: Bills


def refused(findings: Sequence[Finding]) -> bool:
    """Whether the findings keep a model from being loaded."""
    return any(finding.outcome is not Outcome.PASS for finding in findings)
