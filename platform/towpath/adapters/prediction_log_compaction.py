"""Compaction of the prediction log: many small files of a day become few large ones, while others write and read.

While a day lasts, a gateway merges what its own workers have written, sixty files at a time: those of a minute, then
those of an hour. Once the day is over, whoever comes first merges what is left of it. Several may do the same at once:
the same files give the same merged file, and different ones that overlap are read once (`prediction_log_parts`).
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from towpath.adapters.prediction_log_merging import Group, ended, lasting, merge
from towpath.adapters.prediction_log_parts import (
    KINDS,
    TIERS,
    Part,
    day_of,
    folder,
    merged_name,
    owner_of,
    parts_of,
    tier_of,
)
from towpath.adapters.prediction_log_places import Place, Stored

_LATE = timedelta(hours=1)  # after a day's end, for requests that were being answered and files that wait in a spool
_BACK = timedelta(days=30)


class Compaction:
    """Merges files. `after` delays the end of a day, so that not every replica merges what is left of it at once."""

    def __init__(self, place: Place, *, clock: Callable[[], datetime], after: timedelta = timedelta()) -> None:
        self._place = place
        self._clock = clock
        self._late = _LATE + after
        self._parts: dict[str, tuple[Part, ...]] = {}  # of merged files, by their names, which say what they hold
        self._swept: dict[str, str] = {}  # of a project, the first day that lasted when the days before were looked at

    def run(self, project: str, *, workers: set[str], stopped: Callable[[], bool] = lambda: False) -> int:
        """Merge what can be merged now; returns how many files that took away.

        Raises `Unreachable`, `Misconfigured`, `Unwritable`, and `IntegrityError` for a file that cannot be read. The
        log reads the same whenever this ends, is killed, or runs beside another.
        """
        today = self._clock().astimezone(UTC) - self._late  # the first day that is not over
        first = f"{today:%Y-%m-%d}"
        sweep = self._swept.get(project) != first
        since = f"{today - _BACK:%Y-%m-%d}" if sweep else first
        removed = 0
        for kind in KINDS:
            for day, found in sorted(self._days(project, kind, since).items()):
                over = day < first
                mine = [[one for one in tier if over or owner_of(one.name) in workers] for tier in found]
                tiers, leftovers = self._tidied(mine)
                removed += leftovers
                for group in ended(tiers) if over else lasting(tiers):
                    if stopped():
                        return removed
                    removed += self._merge(group)
        self._swept[project] = first
        self._parts = {name: parts for name, parts in self._parts.items() if day_of(name) >= first}
        return removed

    def _days(self, project: str, kind: str, since: str) -> Mapping[str, list[list[Stored]]]:
        """What gateways wrote, by day and tier."""
        found: dict[str, list[list[Stored]]] = defaultdict(lambda: [[] for _ in TIERS])
        for tier in TIERS:
            for stored in self._place.list(folder(project, kind, tier), since=since):
                if owner_of(stored.name) is not None:
                    found[day_of(stored.name)][tier].append(stored)
        return found

    def _tidied(self, tiers: Sequence[Sequence[Stored]]) -> tuple[list[list[Stored]], int]:
        """The files that may be merged, and how many were removed: those that lie above, as a killed merger left them.

        A file that lies above with another size came anew. It stays, and is not merged: nobody could tell any more
        which of the two is newer.
        """
        above: dict[str, int] = {}
        kept: list[list[Stored]] = [[] for _ in tiers]
        removed = 0
        for tier in reversed(TIERS):
            held: dict[str, int] = {}
            for stored in tiers[tier]:
                parts = self._parts_of(stored) if above or any(tiers[:tier]) else ()
                if parts is None:
                    continue
                if parts and all(above.get(part.name) == part.size for part in parts):
                    self._place.remove(stored)
                    removed += 1
                    continue
                held |= {part.name: part.size for part in parts}
                if all(above.get(part.name, part.size) == part.size for part in parts):
                    kept[tier].append(stored)
            above |= held
        return kept, removed

    def _parts_of(self, stored: Stored) -> tuple[Part, ...] | None:
        """What a file holds; None when it is gone."""
        if tier_of(stored.name) == 0:
            return (Part(name=stored.name, size=stored.size),)
        if stored.name not in self._parts:
            path = self._place.local(stored)
            if path is None:
                return None
            try:
                self._parts[stored.name] = parts_of(path, stored)
            except FileNotFoundError:
                return None
        return self._parts[stored.name]

    def _merge(self, group: Group) -> int:
        """Put the merged file in its place, then remove what it replaces. Not when a file is gone: another did it."""
        files: dict[Stored, tuple[Path, Sequence[Part]]] = {}
        for stored in group.files:
            path, parts = self._place.local(stored), self._parts_of(stored)
            if path is None or parts is None:
                return 0
            files[stored] = path, parts
        with tempfile.TemporaryDirectory(prefix="towpath-merge-") as scratch:
            target = Path(scratch) / "merged.parquet"
            try:
                merged = merge(files, target)
            except FileNotFoundError:
                return 0
            name = merged_name(merged, tier=group.tier, owner=group.owner)
            self._place.put(target, name)
        self._parts[name] = merged
        for stored in group.files:
            self._place.remove(stored)
            self._parts.pop(stored.name, None)
        return len(group.files)
