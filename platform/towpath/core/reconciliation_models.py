"""The model registry against the ledger: name, versions, aliases, tags and the deprecated stages. Pure.

A registry's version is known by the run and the place it was made from, not by its number: one that was deleted and put
back has another number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

from pydantic import BaseModel, ConfigDict

from towpath.core import names
from towpath.core.reconciliation_values import Drift

NAME, VERSION, ALIAS, TAGS, STAGE = (
    "reconcile.name",
    "reconcile.version",
    "reconcile.alias",
    "reconcile.tags",
    "reconcile.stage",
)
REGISTERING: Final = timedelta(minutes=10)
"""How long a version of which the ledger knows nothing may be one that is being registered."""
NO_STAGE: Final = "None"
_ABSENT: Final = "nothing"
_KNOWN: Final = "MLflow keeps no actor"


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WantedVersion(_Value):
    """A registered candidate: the number that it got, the run it was made from, and its tags.

    `tags`: for each of our tags the values that are right, the one to put back first; an empty text is no tag.
    """

    version: str
    run_id: str
    model_id: str
    tags: Mapping[str, tuple[str, ...]]


class WantedModels(_Value):
    """What the ledger says of a project's registered model. `before`: the version that was champion before.

    `fresh`: the last decision is so new that the registry may not have been shown it yet.
    """

    name: str
    versions: tuple[WantedVersion, ...]
    champion: str | None
    candidate: str | None
    before: str | None = None
    fresh: bool = False

    def of(self, version: str) -> WantedVersion:
        return next(one for one in self.versions if one.version == version)


class FoundVersion(_Value):
    """A version as the registry shows it."""

    name: str
    version: str
    run_id: str
    source: str
    tags: Mapping[str, str]
    stage: str = NO_STAGE
    created_at: datetime
    updated_at: datetime


class FoundModels(_Value):
    """A registered model as the registry shows it; `aliases` is None when there is none of that name.

    `elsewhere`: versions of the same runs under other names. `places`: where each logged model lies, by its id.
    """

    at: datetime
    aliases: Mapping[str, str] | None
    versions: tuple[FoundVersion, ...] = ()
    elsewhere: tuple[FoundVersion, ...] = ()
    places: Mapping[str, str]

    def holding(self, wanted: WantedVersion) -> FoundVersion | None:
        """The version made from that run and place: the one with its number, else the oldest."""
        place = self.places.get(wanted.model_id)
        same = [one for one in self.versions if one.run_id == wanted.run_id and place in (None, one.source)]
        return min(same, key=lambda one: (one.version != wanted.version, int(one.version)), default=None)


def models_drift(wanted: WantedModels, found: FoundModels) -> Iterator[Drift]:
    """Differences in the order in which they are put back: what others hang on comes first, and alone."""
    if found.aliases is None:
        if wanted.versions:
            yield _name(wanted, found)
        return
    gone = [one for one in (wanted.champion, wanted.candidate) if one and found.holding(wanted.of(one)) is None]
    if gone:
        yield from (_version(wanted.of(one), wanted, found) for one in dict.fromkeys(gone))
        return
    lagging, showing = _showing(wanted, found)
    yield from _alias(names.ALIAS_CHAMPION, wanted.champion, wanted, found, lagging=lagging, showing=showing)
    yield from _alias(names.ALIAS_CANDIDATE, wanted.candidate, wanted, found)
    for one in wanted.versions:
        held = found.holding(one)
        if held is not None:
            yield from _tags(one, held, wanted, lagging=lagging and one.version == wanted.champion)
    for held in found.versions:
        if held.stage != NO_STAGE:
            yield Drift(
                code=STAGE,
                key=held.version,
                subject=f"stage of version {held.version} of {held.name}",
                wanted=NO_STAGE,
                found=held.stage,
                restorable=True,
                known=f"{_KNOWN}; the version was last changed at {_time(held.updated_at)}",
            )


def _name(wanted: WantedModels, found: FoundModels) -> Drift:
    moved = elsewhere(wanted, found)
    when = f"; it was last changed at {_time(moved.updated_at)}" if moved else ""
    return Drift(
        code=NAME,
        subject=f"registered model {wanted.name}",
        wanted=wanted.name,
        found=f"renamed to {moved.name}" if moved else "deleted",
        restorable=True,
        known=_KNOWN + when,
    )


def elsewhere(wanted: WantedModels, found: FoundModels) -> FoundVersion | None:
    """The version that shows under which name the registered model is now."""
    runs = {one.run_id for one in wanted.versions}
    return next((one for one in found.elsewhere if one.run_id in runs), None)


def _version(one: WantedVersion, wanted: WantedModels, found: FoundModels) -> Drift:
    other = next((item for item in found.versions if item.version == one.version), None)
    return Drift(
        code=VERSION,
        key=one.version,
        subject=f"version {one.version} of {wanted.name}",
        wanted=f"run {one.run_id}",
        found=f"run {other.run_id} from {other.source}" if other else "deleted",
        restorable=True,
        known=_KNOWN + ("" if other else ", nor when it was"),
    )


def _alias(
    alias: str,
    version: str | None,
    wanted: WantedModels,
    found: FoundModels,
    *,
    lagging: bool = False,
    showing: bool = False,
) -> Iterator[Drift]:
    assert found.aliases is not None
    held = found.holding(wanted.of(version)) if version else None
    right, shown = held.version if held else None, found.aliases.get(alias)
    if right != shown:
        yield Drift(
            code=ALIAS,
            key=alias,
            subject=f"alias {alias} of {wanted.name}",
            wanted=f"version {right}" if right else _ABSENT,
            found=f"version {shown}" if shown else _ABSENT,
            restorable=True,
            doubtful=showing or (alias == names.ALIAS_CANDIDATE and _registering(shown, wanted, found)),
            lagging=lagging,
            known=f"{_KNOWN} of an alias, nor when it was moved",
        )


def _registering(shown: str | None, wanted: WantedModels, found: FoundModels) -> bool:
    """Whether the version is one that the ledger does not know yet, and so new that it may still be told."""
    held = next((one for one in found.versions if one.version == shown), None)
    known = {one.run_id for one in wanted.versions}
    return held is not None and held.run_id not in known and found.at - held.created_at < REGISTERING


def _showing(wanted: WantedModels, found: FoundModels) -> tuple[bool, bool]:
    """Whether nobody has shown the registry the last decision yet, and whether somebody may be about to.

    Tags are set first and the alias after them: with its tags there, an alias that is late is so for a moment only.
    """
    assert found.aliases is not None
    if not wanted.fresh or wanted.champion is None:
        return False, False
    now = wanted.of(wanted.champion)
    held, shown = found.holding(now), found.aliases.get(names.ALIAS_CHAMPION)
    before = found.holding(wanted.of(wanted.before)) if wanted.before else None
    unshown = held is not None and held.tags.get(names.TAG_DECISION, "") != now.tags[names.TAG_DECISION][0]
    old = before.version if before else None
    return unshown and shown in (held and held.version, old), not unshown and shown == old


def _tags(one: WantedVersion, held: FoundVersion, wanted: WantedModels, *, lagging: bool) -> Iterator[Drift]:
    apart = {key: right for key, right in one.tags.items() if held.tags.get(key, "") not in right}
    if not apart:
        return
    known = {value for item in wanted.versions for value in item.tags[names.TAG_CANDIDATE]}
    stranger = held.tags.get(names.TAG_CANDIDATE, "")
    yield Drift(
        code=TAGS,
        key=one.version,
        subject=f"tags of version {held.version} of {wanted.name}",
        wanted=", ".join(f"{key}={right[0] or _ABSENT}" for key, right in sorted(apart.items())),
        found=", ".join(f"{key}={held.tags.get(key, _ABSENT)}" for key in sorted(apart)),
        restorable=True,
        doubtful=bool(stranger) and stranger not in known,
        lagging=lagging,
        known=f"{_KNOWN} of a tag, nor when it was edited",
    )


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
