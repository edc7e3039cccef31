"""One act of one person, when told to: `python child.py URL DIGEST "approve Grace"`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from governance import town
from governance.town import BARBARA, GRACE, Town
from towpath.core.errors import Denied
from towpath.core.identity import Identity
from towpath.stages.work import candidate_of

PEOPLE = {"Grace": GRACE, "Barbara": BARBARA}


def act(home: Town, what: str, who: Identity, digest: str) -> str:
    candidate = candidate_of(home.ledger, "visits", digest)
    try:
        if what == "approve":
            home.approve(candidate, who)
            return "approved"
        if what == "withdraw":
            home.withdraw(candidate, who)
            return "withdrawn"
        return home.promote(candidate, who).verdict.value
    except Denied as error:
        return f"denied: {error.message}"


def main() -> None:
    url, digest, (what, name) = sys.argv[1], sys.argv[2], sys.argv[3].split()
    with tempfile.TemporaryDirectory() as folder, town.opened(Path(folder), url=url) as home:
        print("ready", flush=True)  # noqa: T201 - the test waits for it
        sys.stdin.readline()
        print(act(home, what, PEOPLE[name], digest), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
