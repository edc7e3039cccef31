"""The port `Registry` in memory: a registered model as a value that is replaced with every change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from towpath.core.errors import NotFound
from towpath.core.reconciliation_models import NO_STAGE, FoundModels, FoundVersion

AT = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(kw_only=True)
class FakeRegistry:
    """`aliases` and `versions` by registered model; `numbers` never gives one out twice while a model lives."""

    aliases: dict[str, dict[str, str]] = field(default_factory=dict)
    versions: dict[str, dict[str, FoundVersion]] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    changes: int = 0

    def look(self, name: str, *, runs: Mapping[str, str], at: datetime) -> FoundModels:
        others = [one for other, held in self.versions.items() if other != name for one in held.values()]
        return FoundModels(
            at=at,
            aliases=self.aliases.get(name),
            versions=tuple(self.versions.get(name, {}).values()),
            elsewhere=tuple(one for one in others if one.run_id in runs) if name not in self.aliases else (),
            places={model: f"store/{model}" for model in runs.values()},
        )

    def point(self, name: str, alias: str, version: str | None) -> None:
        self.changes += 1
        if version is None:
            self.aliases[name].pop(alias, None)
        elif version in self.versions[name]:
            self.aliases[name][alias] = version
        else:
            raise NotFound("There is no such version.")

    def tag(self, name: str, version: str, tags: Mapping[str, str]) -> None:
        kept = {key: value for key, value in {**self.versions[name][version].tags, **tags}.items() if value}
        self._set(name, version, tags=kept)

    def unstage(self, name: str, version: str) -> None:
        self._set(name, version, stage=NO_STAGE)

    def rename(self, name: str, to: str) -> None:
        self.changes += 1
        self.aliases[to] = self.aliases.pop(name)
        self.numbers[to] = self.numbers.pop(name)
        held = self.versions.pop(name)
        self.versions[to] = {number: one.model_copy(update={"name": to}) for number, one in held.items()}

    def create(self, name: str, *, run_id: str, model_id: str, tags: Mapping[str, str]) -> str:
        self.changes += 1
        self.aliases.setdefault(name, {})
        self.numbers[name] = self.numbers.get(name, 0) + 1
        number = str(self.numbers[name])
        self.versions.setdefault(name, {})[number] = FoundVersion(
            name=name,
            version=number,
            run_id=run_id,
            source=f"store/{model_id}",
            tags={key: value for key, value in tags.items() if value},
            created_at=AT,
            updated_at=AT,
        )
        return number

    def delete(self, name: str, version: str) -> None:
        """What the reconciler never does."""
        self.versions[name].pop(version, None)
        self.aliases[name] = {alias: number for alias, number in self.aliases[name].items() if number != version}

    def stage(self, name: str, version: str, stage: str) -> None:
        self._set(name, version, stage=stage)

    def drop(self, name: str) -> None:
        for held in (self.aliases, self.versions, self.numbers):
            held.pop(name, None)

    def _set(self, name: str, version: str, **changes: object) -> None:
        self.changes += 1
        held = self.versions[name]
        held[version] = held[version].model_copy(update=changes)
