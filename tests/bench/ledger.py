"""How many entries a second are verified: a ledger of 10,000 as stages write them, without signatures and with.

Run it with `make bench-ledger`. Seconds are the processor's, which other programs on the machine change little.
Writing is not measured: it waits for the disk once a record.
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

# In place of this folder, whose ledger.py is not the package of that name.
sys.path[0] = str(Path(__file__).parents[1])

from ledger.drafts import decision, entry, ticking  # noqa: E402
from towpath.adapters.keys_local import LocalKeys  # noqa: E402
from towpath.ledger.export import export, verify_export  # noqa: E402
from towpath.ledger.signing import Pen  # noqa: E402
from towpath.ledger.sql import SqlLedger  # noqa: E402
from towpath.ledger.trust import Trust  # noqa: E402
from towpath.ports import Verification  # noqa: E402

ENTRIES = 10_000


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        keys = LocalKeys(Path(scratch) / "keys")
        keys.ensure(at=ticking()())
        for signed in (False, True):
            _measure(Path(scratch) / f"{signed}.db", keys if signed else None)


def _measure(file: Path, keys: LocalKeys | None) -> None:
    clock = ticking()
    with SqlLedger.open(f"sqlite:///{file}", clock=clock, keys=keys) as ledger:
        _fill(ledger, Pen(clock=clock, keys=keys))
        name = "signed" if keys else "not signed"
        _say(f"database, {name}, whole", ledger.verify)
        stream = io.BytesIO()
        export(ledger.records(), stream)
        trust = Trust.of(keys) if keys else None
        _say(f"export, {name}, whole", lambda: verify_export(io.BytesIO(stream.getvalue()), trust=trust))


def _fill(ledger: SqlLedger, pen: Pen) -> None:
    """Records in one transaction: a commit each would take a minute."""
    from towpath.ledger.sql import write

    with ledger._database.writing() as connection:
        for number in range(1, ENTRIES + 1):
            draft = entry(number) if number % 2 else decision(f"key-{number}", body={"n": number, "share": 0.25})
            write(connection, draft, actor="ada", pen=pen)


def _say(name: str, verify: Callable[[], Verification]) -> None:
    began = time.process_time()
    found = verify()
    seconds = time.process_time() - began
    assert found.whole, found.verdict
    assert found.records == ENTRIES
    sys.stdout.write(f"{name:32} {ENTRIES / seconds:9,.0f} entries/s  ({seconds:.2f} s of one processor)\n")


if __name__ == "__main__":
    main()
