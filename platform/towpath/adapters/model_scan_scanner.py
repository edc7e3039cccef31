"""The port `Scanner`: the list of formats first, then modelscan over whatever may be opened."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from towpath.adapters import model_scan_formats as formats
from towpath.adapters.model_scan_formats import ALLOWED, Problem, Types
from towpath.core.evidence import Finding, Outcome

_SHOWN: Final = 3


class ModelScanner:
    """Reads files as bytes. `types` names the types of a skops file that nobody reviewed."""

    def __init__(self, *, types: Types) -> None:
        self._types = types

    def inspect(self, path: Path, *, subject: str) -> tuple[Finding, ...]:
        count, found = formats.problems(path, types=self._types)
        return _format(subject, count, found), _scan(subject, path, found)


def _format(subject: str, count: int, found: list[Problem]) -> Finding:
    named = "; ".join(f"{problem.file or '.'}: {problem.what}" for problem in found[:_SHOWN])
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return Finding(
        code="register.format",
        outcome=Outcome.FAIL if found else Outcome.PASS,
        subject=subject,
        measured=len(found),
        bound="= 0",
        unit="files",
        sample_size=count,
        source=f"allowed: {', '.join(ALLOWED)}",
        reason=f"{named}{more}" if found else "every file is of a format that runs no code when it is read",
    )


def _scan(subject: str, path: Path, found: list[Problem]) -> Finding:
    """Whatever the scanner cannot read is no pass."""
    harmful = [problem for problem in found if problem.harmful]
    if harmful:
        reason = f"not scanned: {harmful[0].file or '.'} is not to be opened"
        return _finding(subject, Outcome.INCONCLUSIVE, reason, None)
    from towpath.adapters.model_scan_modelscan import scan

    try:
        scanned = scan(path)
    except Exception as error:  # noqa: BLE001 - a scanner that fails on a file has not passed it
        return _finding(subject, Outcome.ERROR, f"modelscan fails: {type(error).__name__}: {error}", None)
    said = "; ".join((scanned.issues or scanned.errors)[:_SHOWN])
    if scanned.issues:
        return _finding(subject, Outcome.FAIL, f"modelscan finds {said}", len(scanned.issues))
    if scanned.errors:
        return _finding(subject, Outcome.ERROR, f"modelscan cannot read everything: {said}", None)
    return _finding(subject, Outcome.PASS, f"modelscan {scanned.version} finds no code", 0)


def _finding(subject: str, outcome: Outcome, reason: str, measured: int | None) -> Finding:
    return Finding(
        code="register.scan",
        outcome=outcome,
        subject=subject,
        measured=measured,
        bound="= 0",
        unit="issues",
        reason=reason,
    )
