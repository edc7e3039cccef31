"""Every kind of single change is found, is called what it is, and the record named."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from ledger.drafts import decision, entry, ticking
from ledger.mutations import Mutation, Rows, mutations
from towpath.adapters.keys_local import LocalKeys
from towpath.core.tampering import Tampering
from towpath.ledger import chain
from towpath.ledger.signing import Pen
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


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_single_change_among_ten_thousand(write: Callable[[int], Rows], keys: LocalKeys) -> None:
    rows = write(LARGE)
    positions = sorted({0, 1, Random(2013).randrange(2, LARGE - 2), LARGE - 2, LARGE - 1})
    wrong = []
    for mutation in MUTATIONS:
        for position in positions:
            if mutation.fits(position, LARGE):
                kind, sequence, _ = _verdict(mutation.do(rows, position), keys)
                if (kind, sequence) != (mutation.kind, mutation.names(position)):
                    wrong.append((mutation.name, position, kind, sequence))
    assert wrong == []
