"""How pages are read and compared, so that a wrong figure on a page is seen."""

from __future__ import annotations

import pytest

from docs import pages

TABLE = (
    " stage       outcome   entry          seconds   figures ",
    " ─────────────────────────────────────────────── ",
    " ingest      PASS      d65dc882e88d       3.5   153,461 rows in 5 tables ",
    "promote  PROMOTE: flights-7eb68bb1664d is the champion",
)
PRINTED = """\
 stage  outcome  entry         seconds  figures

 ─────────────────────
 ingest PASS     0123456789ab     12.1  153,461 rows in 5 tables
promote  PROMOTE: flights-ba9876543210 is the champion
"""


def test_digests_are_learnt_and_seconds_ignored() -> None:
    known: dict[str, str] = {}
    assert pages.mismatch(TABLE, PRINTED, known) is None
    assert known == {"d65dc882e88d": "0123456789ab", "7eb68bb1664d": "ba9876543210"}
    assert pages.with_known("towpath show flights-7eb68bb1664d", known) == "towpath show flights-ba9876543210"


def test_a_digest_that_is_known_must_come_again() -> None:
    known = {"7eb68bb1664d": "ba9876543211"}
    assert "promote" in str(pages.mismatch(TABLE, PRINTED, known))


def test_a_digest_shown_twice_is_one() -> None:
    shown = ("a 7eb68bb1664d b 7eb68bb1664d",)
    assert pages.mismatch(shown, "a ba9876543210 b ba9876543210", {}) is None
    assert pages.mismatch(shown, "a ba9876543210 b ba9876543211", {}) is not None


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("ROC AUC 0.9387 [0.9352, 0.9421]", "ROC AUC 0.9388 [0.9352, 0.9421]"),
        ("22 of 37 columns drifted", "23 of 37 columns drifted"),
        ("late: 105,202 rows, 24.2% positive", "late: 105,202 rows, 24.3% positive"),
        ("as of 2013-06-01", "as of 2013-07-01"),
        ("measured: 3.5 of it", "measured: 3.6 of it"),
    ],
)
def test_a_figure_must_be_printed_as_it_is_shown(shown: str, printed: str) -> None:
    assert pages.mismatch((shown,), shown, {}) is None
    assert pages.mismatch((shown,), printed, {}) is not None


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("at 2026-11-23 08:36:28 by ada", "at 2031-01-02 03:04:05 by ada"),
        ("took at most 5.26 ms (median 4.87 ms)", "took at most 9 ms (median 1.2 ms)"),
        ("roc.png (46.4 kB), card.html (1.2 MB)", "roc.png (9 B), card.html (432.2 kB)"),
        ("a page …/drift.html", "a page /home/ada/x/drift.html"),
    ],
)
def test_what_differs_from_run_to_run_may(shown: str, printed: str) -> None:
    assert pages.mismatch((shown,), printed, {}) is None


def test_an_ellipsis_alone_stands_for_lines() -> None:
    assert pages.mismatch(("a", "…", "d"), "a\nb\nc\nd\n", {}) is None
    assert pages.mismatch(("a", "…"), "a\n", {}) is None
    assert pages.mismatch(("a", "d"), "a\nb\nc\nd\n", {}) is not None
    assert "More is printed" in str(pages.mismatch(("a",), "a\nb\n", {}))
    assert pages.mismatch((), "a\n", {}) is not None
    assert pages.mismatch((), "\n", {}) is None


def test_a_page_may_wrap_what_is_printed_in_one_line() -> None:
    assert pages.mismatch(("over the bound", "    0.97: too good"), "over the bound 0.97: too good\n", {}) is None


def test_a_console_block_is_commands_with_their_output() -> None:
    (block,) = pages.blocks("Text\n\n```console\n$ towpath show x \\\n    --json\n{\n}\n$ echo $?\n0\n```\n")
    assert block.line == 3
    assert pages.steps(block) == [
        pages.Step(command="towpath show x \\\n    --json", shown=("{", "}")),
        pages.Step(command="echo $?", shown=("0",)),
    ]


def test_a_console_block_begins_with_a_command() -> None:
    (block,) = pages.blocks("```console\nno command\n```\n")
    with pytest.raises(ValueError, match="begins with"):
        pages.steps(block)
