"""Counts of bad units that never fall from look to look, though files of the log come late."""

from __future__ import annotations

from collections.abc import Mapping

Place = tuple[int, int, str]  # step, weight, arm


def settled(found: Mapping[Place, int], judged: Mapping[Place, int]) -> dict[Place, int]:
    """Counts no lower than those judged before, with the same sum as those found.

    A unit is counted where it was bad first. When a file comes late with an earlier event of a unit that was counted
    already, `found` moves the unit to an earlier stratum; but what was judged stays judged. So each place keeps what it
    had, and as many units are taken back where more were found, from the earliest stratum on, since that is where
    late events belong. When the sum itself fell, evidence was lost: the counts are left as they are, for the judge.
    """
    counts = {place: found.get(place, 0) for place in found.keys() | judged.keys()}
    surplus = sum(max(0, judged.get(place, 0) - count) for place, count in counts.items())
    if surplus == 0 or sum(counts.values()) < sum(judged.values()):
        return counts
    kept = {}
    for place in sorted(counts):
        count, before = counts[place], judged.get(place, 0)
        back = min(surplus, max(0, count - before))
        surplus -= back
        kept[place] = max(count, before) - back
    return kept
