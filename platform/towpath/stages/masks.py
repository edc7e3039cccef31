"""Masks of the sources: what each contract declares, with the keys it needs, held to the keys used before.

A key that was lost and silently made anew would give every value another pseudonym; so would an old one put back. The
ledger holds each key's version and id, never the key.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from towpath.core import digest as digests
from towpath.core.errors import Misconfigured
from towpath.core.evidence import Candidate, RecordKind
from towpath.core.gates import Stage
from towpath.core.identity import EVERY_PROJECT
from towpath.core.masking import Mask, Masking, Masks, Method, PseudonymKey, masked_everywhere
from towpath.ports import Draft, Ledger, PseudonymKeys
from towpath.stages.keys import STAGE

if TYPE_CHECKING:
    from towpath.stages.work import Work


@dataclass(frozen=True, kw_only=True)
class Used:
    """A key as an entry of `ingest` recorded it."""

    version: int
    key_id: str
    sequence: int


def maskings(work: Work) -> dict[str, Masking]:
    """The masking of each source whose contract masks a column. Raises `Misconfigured` for a key that is not there."""
    tables = {table: contract.table(table) for table, contract in work.project.contracts.items()}
    masked = {table: found for table, found in tables.items() if found.masks}
    wanted = {mask.key for table in masked.values() for mask in table.masks.values() if mask.method is Method.PSEUDONYM}
    keys = {name: _key(name, work.ports.pseudonyms, used) for name, used in _used(work.ports.ledger, wanted).items()}
    return {
        table: Masking(
            columns=(*found.columns, *(column for column in found.masks if column not in found.columns)),
            masks=found.masks,
            keys={mask.key: keys[mask.key] for mask in found.masks.values() if mask.key},
        )
        for table, found in masked.items()
    }


def masked(candidate: Candidate) -> Masks:
    """The masks of the column names that the candidate knows only masked, by its record."""
    ingested = next((entry for entry in candidate.entries if entry.stage == Stage.INGEST), None)
    facts: Any = ingested.facts if ingested is not None else {}
    if "masks" not in facts:
        return {}
    found = {
        table: {column: Mask(**mask) for column, mask in masking["columns"].items()}
        for table, masking in facts["masks"].items()
    }
    return masked_everywhere(facts["columns"], found)


def rotate(keys: PseudonymKeys, ledger: Ledger, name: str, *, actor: str) -> PseudonymKey:
    """The key's next version, beyond every one that was ever used, and a record of it."""
    used = last_used(ledger, name)
    made = keys.rotate(name, above=used.version if used else 0)
    body: dict[str, JsonValue] = {"pseudonyms": "rotate", "name": name, "version": made.version, "key_id": made.key_id}
    draft = Draft(
        kind=RecordKind.ACCESS,
        project=EVERY_PROJECT,
        candidate="",
        stage=STAGE,
        key=None,
        digest=digests.of_json(body),
        body=body,
    )
    ledger.append(draft, actor=actor)
    return made


def last_used(ledger: Ledger, name: str) -> Used | None:
    """The highest version of a key that the record names: one that masked, or that was made by a rotation."""
    return _used(ledger, {name})[name]


def _used(ledger: Ledger, names: set[str]) -> dict[str, Used | None]:
    found: dict[str, Used | None] = dict.fromkeys(sorted(names))
    if names:
        for name, used in _recorded(ledger):
            before = found.get(name)
            if name in names and (before is None or used.version >= before.version):
                found[name] = used
    return found


def _recorded(ledger: Ledger) -> Iterator[tuple[str, Used]]:
    for record in ledger.records(kind=RecordKind.ENTRY):
        facts: Any = record.body.get("facts") if record.stage == Stage.INGEST else None
        for masking in (facts or {}).get("masks", {}).values():
            for name, key in masking["keys"].items():
                yield name, Used(version=key["version"], key_id=key["key_id"], sequence=record.sequence)
    for record in ledger.records(kind=RecordKind.ACCESS):
        if record.body.get("pseudonyms") == "rotate":
            made: Any = record.body
            yield made["name"], Used(version=made["version"], key_id=made["key_id"], sequence=record.sequence)


def _key(name: str, keys: PseudonymKeys, used: Used | None) -> PseudonymKey:
    key = keys.current(name)
    if key is None and used is None and keys.made_at_first_use:
        return keys.rotate(name)
    if key is None and used is None:
        raise Misconfigured(
            f"There is no key {name!r} for pseudonyms in this process.",
            value=name,
            hint=f"Set TOWPATH_KEYS to the folder that has it, or make it: towpath key pseudonym {name}.",
        )
    if used is not None and (key is None or key.version < used.version or key.key_id != _same(key, used)):
        there = "it is gone" if key is None else f"version {key.version} with id {key.key_id} is here"
        raise Misconfigured(
            f"The key {name!r} for pseudonyms is not the one that was used last (version {used.version} with id "
            f"{used.key_id}, by record {used.sequence}): {there}. Every value would get another pseudonym.",
            value=name,
            hint=f"Restore it, or give up the old pseudonyms with a new version: towpath key pseudonym {name}.",
        )
    assert key is not None
    return key


def _same(key: PseudonymKey, used: Used) -> str:
    """The id that the key must have: the recorded one, unless it is a later version."""
    return used.key_id if key.version == used.version else key.key_id
