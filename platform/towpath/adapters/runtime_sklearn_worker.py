"""The process that holds an unconverted model: `python -m … FOLDER`, requests and answers on its standard streams.

Each message is its length (4 bytes) and MessagePack. The first message tells the columns and their types. It ends when
its standard input does, so it does not outlive the process that started it.
"""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path
from typing import BinaryIO

import msgspec

from towpath.core.errors import BadInput

LENGTH = struct.Struct("<I")


class Opening(msgspec.Struct, frozen=True):
    """What the worker needs beside the model."""

    columns: list[str]
    types: dict[str, str]


class Answer(msgspec.Struct, frozen=True):
    """Probabilities, or why there are none."""

    chances: list[float] | None = None
    fault: str | None = None


def framed(message: object) -> bytes:
    """Raises `BadInput` for what cannot be sent."""
    try:
        content = msgspec.msgpack.encode(message, enc_hook=_plain)
    except (TypeError, OverflowError, NotImplementedError) as error:
        raise BadInput(f"The model does not take such values: {error}") from error
    return LENGTH.pack(len(content)) + content


def _plain(value: object) -> object:
    """A scalar of numpy as Python's own."""
    if hasattr(value, "item"):
        return value.item()
    raise NotImplementedError(f"{type(value).__name__} is neither text nor a number")


def _message(stream: BinaryIO) -> bytes | None:
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    content = stream.read(length)
    return content if len(content) == length else None


def serve(folder: Path, incoming: BinaryIO, outgoing: BinaryIO) -> None:
    """Answer until the input ends."""
    from towpath.adapters.mlflow_models_saved import load
    from towpath.adapters.runtime_sklearn_scorer import Scorer

    first = _message(incoming)
    if first is None:
        return
    opening = msgspec.msgpack.decode(first, type=Opening)
    scorer = Scorer(load(folder), columns=opening.columns, types=opening.types)
    outgoing.write(framed(Answer(chances=[])))
    outgoing.flush()
    while (content := _message(incoming)) is not None:
        try:
            answer = Answer(chances=scorer.predict(msgspec.msgpack.decode(content)))
        except BadInput as error:
            answer = Answer(fault=error.message)
        except Exception as error:  # noqa: BLE001 - a model of others; the worker lives on
            answer = Answer(fault=f"The model fails on these rows: {type(error).__name__}: {error}")
        outgoing.write(framed(answer))
        outgoing.flush()


def main() -> None:
    """Whatever a library prints goes to stderr: stdout is for answers."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(Path(sys.argv[1]), sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
