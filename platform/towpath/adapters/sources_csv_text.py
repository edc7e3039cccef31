"""The text of a CSV file: its encoding, its header, and where a malformed row is."""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from dataclasses import dataclass

from towpath.adapters.sources_files import DataFile, QuotingRows
from towpath.core.errors import BadInput

_DELIMITERS = ",;\t|"
_CHUNK = 1 << 20
_LOOKS_LIKE_DATA = re.compile(r"-?\d+([.,]\d+)?([eE][-+]?\d+)?|\d{4}-\d{2}-\d{2}.*")


@dataclass(frozen=True, kw_only=True)
class Header:
    """What the first line says: the delimiter and the names of the columns."""

    delimiter: str
    columns: tuple[str, ...]


def check_text(file: DataFile) -> None:
    """Raise `BadInput` for a file that is empty or not UTF-8, naming the line and the byte."""
    if file.path.stat().st_size == 0:
        raise BadInput(f"{file.name} is empty (0 bytes).", value=file.name, hint="Export it again, with a header line.")
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines, position = 1, 0
    with file.path.open("rb") as stream:
        while True:
            chunk = stream.read(_CHUNK)
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                # the decoder kept an unfinished character from the chunk before, so offsets count from there
                before = error.object[: error.start]
                kept = len(error.object) - len(chunk)
                raise _not_utf8(
                    file,
                    line=lines + before.count(b"\n"),
                    offset=position - kept + error.start,
                    byte=error.object[error.start],
                ) from error
            if not chunk:
                return
            lines += chunk.count(b"\n")
            position += len(chunk)


def _not_utf8(file: DataFile, *, line: int, offset: int, byte: int) -> BadInput:
    return BadInput(
        f"{file.name} is not UTF-8: line {line} has the byte 0x{byte:02X} (offset {offset}).",
        value=file.name,
        hint="Convert it, for instance with: iconv -f LATIN1 -t UTF-8 (when LATIN1 is what it is).",
    )


def read_header(file: DataFile) -> Header:
    """The first line's delimiter (the most frequent of comma, semicolon, tab, bar) and column names.

    Raises `BadInput` for a line that cannot be a header.
    """
    with file.path.open(encoding="utf-8-sig", newline="") as stream:
        outside_quotes = re.sub(r'"[^"]*"', "", stream.readline())
        counts = Counter({delimiter: outside_quotes.count(delimiter) for delimiter in _DELIMITERS})
        delimiter = counts.most_common(1)[0][0]
        stream.seek(0)
        try:
            columns = tuple(next(csv.reader(stream, delimiter=delimiter, strict=True), []))
        except csv.Error as error:
            raise BadInput(
                f"{file.name}, line 1: {error}.", value=file.name, hint="Mend the quotes of the header."
            ) from error
    _check_header(file, columns)
    return Header(delimiter=delimiter, columns=columns)


def _check_header(file: DataFile, columns: tuple[str, ...]) -> None:
    data = [column for column in columns if _LOOKS_LIKE_DATA.fullmatch(column.strip())]
    if data:
        raise QuotingRows(
            f"{file.name}: the first line looks like data ({', '.join(map(repr, data[:3]))}), not like column names.",
            value=file.name,
            hint="A CSV file needs a header line; names that are numbers or dates are not taken.",
        )
    unnamed = [str(place) for place, column in enumerate(columns, start=1) if not column.strip()]
    if unnamed or not columns:
        raise BadInput(
            f"{file.name}: the header has no name for column {', '.join(unnamed) or '1'}.",
            value=file.name,
            hint="Name every column (a delimiter at the end of the line makes one more).",
        )
    seen = Counter(column.casefold() for column in columns)
    doubled = [column for column in columns if seen[column.casefold()] > 1]
    if doubled:
        raise QuotingRows(
            f"{file.name}: the header names columns twice: {', '.join(map(repr, doubled))}.",
            value=doubled[0],
            hint="Rename them; names that differ only in case count as one.",
        )


def malformed(file: DataFile, header: Header, error: Exception) -> BadInput:
    """The error for a file that the CSV engine refused: which line, and what is wrong with it."""
    fault = _first_fault(file, header)
    line, what = fault or _engine_says(error)
    kind = BadInput if fault else QuotingRows
    return kind(
        f"{file.name}{line}: {what}.",
        value=file.name,
        hint="Mend the row: a field with a delimiter, quote or line break needs quotes; a quote inside is doubled.",
    )


def _first_fault(file: DataFile, header: Header) -> tuple[str, str] | None:
    with file.path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, delimiter=header.delimiter, strict=True)
        start = 1
        try:
            for row in reader:
                if row and len(row) != len(header.columns):
                    return f", line {start}", f"{len(row)} fields where the header has {len(header.columns)}"
                start = reader.line_num + 1
        except csv.Error as error:
            return f", line {start}", f"bad quotes ({error})"
    return None


def _engine_says(error: Exception) -> tuple[str, str]:
    text = str(error)
    if "state machine" in text:
        return "", "line ends of several kinds are mixed, or quotes do not match"
    lines = [line for line in text.splitlines() if line.strip()]
    return "", " ".join(lines[:3]).rstrip(".")
