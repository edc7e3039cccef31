"""Every kind of single change is found, is called what it is, and the record named."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random

import pytest

from ledger.drafts import decision, entry, ticking
from ledger.mutations import Mutation, Rows, mutations
from towpath.adapters.keys_local import LocalKeys
from towpath.core.errors import IntegrityError
from towpath.core.tampering import Tampering
from towpath.ledger import chain
from towpath.ledger.chain import Stored
from towpath.ledger.signing import Pen
from towpath.ledger.sql import SqlLedger
from towpath.ledger.trust import Trust
from towpath.ledger.verification import verify_stored
from towpath.ports import Verification

MUTATIONS = list(mutations())
SMALL, LARGE = 12, 10_000


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> LocalKeys:
    made = LocalKeys(tmp_path_factory.mktemp("keys"))
    made.ensure(at=ticking()())
    return made


@pytest.fixture(scope="module")
def write(keys: LocalKeys) -> Callable[[int], Rows]:
    """Signed rows, as the ledger would hold them."""

    def write(count: int) -> Rows:
        clock = ticking()
        rows: Rows = []
        for number in range(1, count + 1):
            pen = Pen(clock=clock, keys=keys, via="token:3f2a (ada-admin)" if number % 3 else None)
            draft = entry(number) if number % 2 else decision(f"key-{number}", body={"n": number})
            record = pen.write(draft, actor="ada", last=rows[-1] if rows else None)
            rows.append(chain.store(record))
        return rows

    return write


def _verdict(rows: Rows, keys: LocalKeys) -> tuple[Tampering | None, int | None, Verification]:
    found = verify_stored(rows, trust=Trust.of(keys))
    return (found.verdict.kind, found.verdict.sequence, found) if found.verdict else (None, None, found)


def test_the_ledger_itself_is_whole(write: Callable[[int], Rows], keys: LocalKeys) -> None:
    found = verify_stored(write(SMALL), trust=Trust.of(keys))
    assert (found.whole, found.verdict, found.signed) == (True, None, SMALL)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_single_change_anywhere(mutation: Mutation, write: Callable[[int], Rows], keys: LocalKeys) -> None:
    rows = write(SMALL)
    for position in range(SMALL):
        if mutation.fits(position, SMALL):
            kind, sequence, found = _verdict(mutation.do(rows, position), keys)
            assert (kind, sequence) == (mutation.kind, mutation.names(position)), (position, found)
            assert not found.whole
            assert str(sequence) in str(found.verdict and found.verdict.what)


def test_a_record_that_was_changed_is_told_by_itself(
    write: Callable[[int], Rows], keys: LocalKeys, tmp_path: Path
) -> None:
    rows, told = write(SMALL), 0
    with SqlLedger.open(f"sqlite:///{tmp_path / 'ledger.db'}", clock=ticking(), keys=keys) as ledger:
        for row in rows:
            ledger.require_written(chain.read(row))
        for mutation in MUTATIONS:
            if not mutation.name.startswith(("edit ", "signature ", "signer ")) or mutation.name == "edit sequence":
                continue
            for position in range(SMALL):
                with pytest.raises(IntegrityError):
                    ledger.require_written(chain.read(mutation.do(rows, position)[position]))
                told += 1
    assert told > 20 * SMALL


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_single_change_among_ten_thousand(
    write: Callable[[int], Rows], keys: LocalKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is found in a row by itself depends on the row alone, so each that is not changed is looked at once."""
    alone = cache(chain.contradictions)
    monkeypatch.setattr(chain, "contradictions", lambda row: list(alone(row)))
    monkeypatch.setattr(Trust, "fits", _remembered(Trust.fits))
    rows = write(LARGE)
    positions = sorted({0, 1, Random(2013).randrange(2, LARGE - 2), LARGE - 2, LARGE - 1})
    wrong, made = [], 0
    for mutation in MUTATIONS:
        for position in positions:
            if mutation.fits(position, LARGE):
                made += 1
                kind, sequence, _ = _verdict(mutation.do(rows, position), keys)
                if (kind, sequence) != (mutation.kind, mutation.names(position)):
                    wrong.append((mutation.name, position, kind, sequence))
    assert made > 150
    assert wrong == []


def _remembered(fits: Callable[..., bool]) -> Callable[..., bool]:
    known: dict[tuple[Stored, str | None], bool] = {}

    def remembered(trust: Trust, row: Stored, *, hash_: str | None = None) -> bool:
        if (row, hash_) not in known:
            known[row, hash_] = fits(trust, row, hash_=hash_)
        return known[row, hash_]

    return remembered
