"""The prediction log by day, for whoever removes old ones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from towpath.adapters.prediction_log_places import Place, Stored

_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


class LogDays:
    """Every file of a project's predictions and labels, by the day that its path names; merged ones too."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def days(self, project: str) -> list[str]:
        return sorted({day for day, _ in self._files(project)})

    def remove(self, project: str, day: str) -> int:
        files = [stored for found, stored in self._files(project) if found == day]
        for stored in files:
            self._place.forget(stored)
            self._place.remove(stored)
        return len(files)

    def _files(self, project: str) -> Iterator[tuple[str, Stored]]:
        for stored in self._place.list(project):
            day = next((part for part in stored.name.split("/")[:-1] if _DAY.fullmatch(part)), None)
            if day is not None:
                yield day, stored
