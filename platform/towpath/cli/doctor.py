"""`towpath doctor`"""

from __future__ import annotations

from dataclasses import asdict

from towpath.cli import options, output
from towpath.cli.exits import Exit


def doctor(as_json: options.Json = False) -> int:
    """Look at this machine: what is installed, set, reachable, writable, and the mend; exit code 1 if anything fails.

    Example: towpath doctor --json
    """
    from towpath.cli import diagnosis

    found = diagnosis.lines()
    worst = "fail" if any(line.state == "fail" for line in found) else "ok"
    if as_json:
        output.emit({"good": worst == "ok", "lines": [asdict(line) for line in found]})
    else:
        console = output.results()
        table = output.table("", "what", "found")
        for line in found:
            table.add_row(output.badge(line.state), line.what, line.found + (f"\n{line.mend}" if line.mend else ""))
        console.print(table)
        bad = [line.what for line in found if line.state != "ok"]
        console.print(f"Look at: {', '.join(bad)}" if bad else "Everything is in order.", soft_wrap=True)
    return Exit.UNEXPECTED if worst == "fail" else Exit.GOOD
