"""The ledger as a file, verified without the database."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import pytest

from ledger.drafts import fill, ticking
from towpath.core import digest as digests
from towpath.ledger.export import export, verify_export
from towpath.ledger.sql import SqlLedger
from towpath.ports import Verification


@pytest.fixture
def lines(ledger: SqlLedger) -> list[bytes]:
    fill(ledger, 5)
    stream = io.BytesIO()
    assert export(ledger.records(), stream) == 5
    assert verify_export(io.BytesIO(stream.getvalue())) == ledger.verify()
    return stream.getvalue().splitlines(keepends=True)


def _verified(lines: list[bytes]) -> Verification:
    return verify_export(io.BytesIO(b"".join(lines)))


def test_anyone_with_a_canonical_json_writer_recomputes_a_line(lines: list[bytes]) -> None:
    for line in lines:
        value = json.loads(line, parse_int=lambda digits: int(digits) if len(digits) < 16 else float(digits))
        assert value.pop("hash") == digests.of_json(value)


def test_an_empty_export_is_whole() -> None:
    assert verify_export(io.BytesIO()) == Verification(records=0, head=None, faults=())


def test_a_last_line_without_its_end_is_still_a_record(lines: list[bytes]) -> None:
    lines[-1] = lines[-1].rstrip(b"\n")
    assert _verified(lines).whole


def _changed(old: bytes, new: bytes) -> Callable[[list[bytes]], None]:
    def change(lines: list[bytes]) -> None:
        assert old in lines[2]
        lines[2] = lines[2].replace(old, new)

    return change


def _swap(lines: list[bytes]) -> None:
    lines[1], lines[3] = lines[3], lines[1]


@pytest.mark.parametrize(
    ("tamper", "sequences", "says"),
    [
        (_changed(b'"actor":"ada"', b'"actor":"eve"'), [3], "was changed after it was written"),
        (_changed(b'"outcome":"PASS"', b'"outcome":"FAIL"'), [3], "one of the two was changed"),
        (_changed(b'"seconds":1.5', b'"seconds":1.50'), [3], "Line 3 is no record: it is not in the canonical form"),
        (_changed(b'"sequence":3', b'"sequence":"3"'), [3], "Line 3 is no record: its sequence is '3'"),
        (_changed(b'"sequence":3', b'"sequence":true'), [3], "Line 3 is no record: its sequence is True"),
        (_changed(b',"stage":"validate"}\n', b"}\n"), [3], "Line 3 is no record: its fields are actor, at, body"),
        (_changed(b"\xe2\x80\xa8", b"\xe2\x80"), [3], "Line 3 is no record: 'utf-8' codec"),
        (lambda lines: lines.__setitem__(2, lines[2][:50]), [3], "Line 3 is no record"),
        (lambda lines: lines.__setitem__(2, b"\n"), [3], "Line 3 is no record"),
        (lambda lines: lines.__setitem__(2, b"[1]\n"), [3], "Line 3 is no record: it is no JSON object"),
        (lambda lines: lines.pop(2), [3], "Record 3 is missing before record 4"),
        (lambda lines: lines.insert(3, lines[2]), [3], "twice or out of order"),
        (_swap, [2, 3], "twice or out of order"),
    ],
)
def test_a_tampered_export(
    lines: list[bytes], tamper: Callable[[list[bytes]], object], sequences: list[int], says: str
) -> None:
    tamper(lines)
    found = _verified(lines)
    assert sorted({fault.sequence for fault in found.faults} & set(sequences)) == sequences
    assert any(says in fault.what for fault in found.faults)


def test_a_cut_end_leaves_another_head(lines: list[bytes]) -> None:
    whole, cut = _verified(lines), _verified(lines[:3])
    assert cut.whole
    assert (cut.records, cut.head) != (whole.records, whole.head)


def test_an_export_of_some_records_is_known_for_one(url: str) -> None:
    with SqlLedger.open(url, clock=ticking()) as ledger:
        fill(ledger, 5)
        stream = io.BytesIO()
        export(ledger.records(after=2), stream)
    stream.seek(0)
    assert [fault.what for fault in verify_export(stream).faults] == ["Records 1 to 2 are missing before record 3."]
