"""What a file is by its bytes, whatever its name says."""

from __future__ import annotations

import io
import pickletools
import re
from typing import Final

PICKLE, ZIP, NUMPY, HDF5 = "pickle", "zip archive", "numpy array", "HDF5 (Keras)"
HEAD: Final = 1 << 20  # as much of a file as is looked at
_MAGIC: Final = (
    (b"PK\x03\x04", ZIP),
    (b"PK\x05\x06", ZIP),
    (b"\x93NUMPY", NUMPY),
    (b"\x89HDF\r\n\x1a\n", HDF5),
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"]\x00\x00", "lzma"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x28\xb5\x2f\xfd", "zstandard"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (b"\x7fELF", "program"),
    (b"MZ", "program"),
    (b"#!", "script"),
    (b"\x78\x01", "zlib (joblib)"),
    (b"\x78\x9c", "zlib (joblib)"),
    (b"\x78\xda", "zlib (joblib)"),
)
_NEWEST: Final = 5  # pickle protocol
_OPS: Final = 200_000
_IMPORTS: Final = {"GLOBAL", "INST", "STACK_GLOBAL", "REDUCE", "BUILD", "OBJ", "NEWOBJ", "NEWOBJ_EX"}
_NAME: Final = re.compile(r"[A-Za-z_][\w.]* [A-Za-z_][\w.<>]*")


def kind(head: bytes) -> str | None:
    """The format that the first bytes (up to `HEAD`) are of; None for text and for what is not known."""
    if pickled(head):
        return PICKLE
    if head[257:262] == b"ustar":
        return "tar archive"
    return next((name for magic, name in _MAGIC if head.startswith(magic)), None)


def pickled(head: bytes) -> bool:
    """Whether `pickle.load` would begin to run this: also protocols 0 and 1, which have no header and may be text.

    With a header (protocol 2 and on) that is enough. Without one it is a pickle when its opcodes can be read up to STOP
    and one of them imports or calls something; the stream behind it does not matter, as it does not to `pickle.load`.
    """
    if len(head) > 1 and head[0] == 0x80 and head[1] <= _NEWEST:
        return True
    calls = False
    try:
        for number, (opcode, argument, _) in enumerate(pickletools.genops(io.BytesIO(head))):
            if opcode.name in {"GLOBAL", "INST"} and not _NAME.fullmatch(str(argument)):
                return False
            calls = calls or opcode.name in _IMPORTS
            if opcode.name == "STOP":
                return calls
            if number > _OPS:
                return calls
    except Exception:  # noqa: BLE001 - pickletools raises whatever its parsers do; it is no pickle then
        return False
    return False
