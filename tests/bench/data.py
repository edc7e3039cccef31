"""Data at scale, one benchmark after the other: data checks, then the point-in-time join of training sets.

Run it with `make bench-data` or `.venv/bin/python tests/bench/data.py`; each prints a Markdown table.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PARTS = {"Data checks": "data_checks.py", "Point-in-time join": "data_join.py"}


def main() -> None:
    codes = []
    for title, name in PARTS.items():
        file = Path(__file__).with_name(name)
        if file.exists():
            sys.stdout.write(f"\n## {title}\n\n")
            sys.stdout.flush()
            codes.append(subprocess.run([sys.executable, str(file)], check=False).returncode)
    raise SystemExit(max(codes))


if __name__ == "__main__":
    main()
