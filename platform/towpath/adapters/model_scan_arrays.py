"""Arrays in numpy's own format (`numpy.lib.format`), by their header: elements that are objects are pickled."""

from __future__ import annotations

import ast
import re
from typing import Final

from towpath.adapters import model_scan_sniff as sniff

_OBJECT: Final = re.compile(r"[|<>=]?O")
_LONGEST: Final = 1 << 16


def wrong(head: bytes) -> str | None:
    """What is wrong with an array; None when its elements are plain."""
    if sniff.kind(head) == sniff.PICKLE:
        return "a pickle"
    if not head.startswith(b"\x93NUMPY"):
        return "no array"
    found = header(head)
    if found is None:
        return "an array with a damaged header"
    return "an array of objects, which are pickled" if objects(found[0]) else None


def header(head: bytes) -> tuple[object, int] | None:
    """The description of the elements, and where they begin; None for a header that cannot be read."""
    wide = len(head) > 6 and head[6] > 1
    begin = 12 if wide else 10
    end = begin + int.from_bytes(head[8:begin], "little")
    if not begin < end <= min(len(head), begin + _LONGEST):
        return None
    try:
        return ast.literal_eval(head[begin:end].decode("utf-8").strip())["descr"], end
    except (ValueError, SyntaxError, KeyError, TypeError, MemoryError, RecursionError):
        return None


def objects(described: object) -> bool:
    """Whether an element holds an object; what cannot be understood may."""
    if isinstance(described, str):
        return _OBJECT.match(described) is not None
    if isinstance(described, list) and described:
        return any(not isinstance(part, tuple) or len(part) < 2 or objects(part[1]) for part in described)
    return True
