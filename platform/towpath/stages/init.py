"""init: a project folder drafted for somebody's own table, such that the path goes through or says why not."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from towpath.core.draft import Asked, Plan, plan, require_columns
from towpath.core.draft_names import identifier, is_project
from towpath.core.draft_split import Split, by_content, by_time
from towpath.core.errors import BadInput
from towpath.core.profile import TableProfile
from towpath.core.task import Task
from towpath.ports import Sources, TableProfiles, Transforms
from towpath.stages.init_files import Owner, contract_file, declarations, repository, training_code
from towpath.stages.init_keep import Kept, keep, require_project
from towpath.stages.init_leaks import disguised, leaks
from towpath.stages.init_rows import Sides, classes, sides
from towpath.stages.init_trial import Kind, judged_by, require_enough, trial
from towpath.stages.init_trial_binary import Binary
from towpath.stages.init_trial_multiclass import Multiclass
from towpath.stages.init_trial_regression import Regression

_TRIAL_ROWS = 60_000  # of a larger table are looked at to draft its bounds


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a person asked for, as typed: the folder to make, the file, and columns by their delivered names."""

    folder: Path
    data: str
    target: str
    key: str | None = None
    time: str | None = None


@dataclass(frozen=True, kw_only=True)
class Drafted:
    """The plan that was made, what became of each file, and what a person must know before they run it."""

    plan: Plan
    kept: Kept
    warnings: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Tools:
    """The ports that drafting needs, the as-of time, and who hears what is done."""

    sources: Sources
    profiles: TableProfiles
    transforms: Transforms
    as_of: datetime
    owner: Owner
    told: Callable[[str], None]


def init(wanted: Wanted, tools: Tools) -> Drafted:
    """Draft a project for a table. Files that are there are never overwritten.

    Raises `BadInput` for data, columns or a name that cannot be worked with, and `Unwritable`.
    """
    project = wanted.folder.resolve().name
    if not is_project(project):
        raise BadInput(
            f"{project!r} is no project name: a letter from a to z, then letters, digits, - and _, at most 63.",
            value=project,
            hint=f"For instance: {identifier(project, fallback='my_model')}.",
        )
    table = table_name(wanted, project)
    require_project(wanted.folder, project, contract=contract_file(table))
    with tempfile.TemporaryDirectory(prefix="towpath-init-") as name:
        scratch = Path(name)
        tools.told(f"reading {wanted.data}")
        file = tools.sources.snapshot(wanted.data, base=Path.cwd(), target=scratch / "table.parquet", until=None).file
        tools.told("looking at its columns")
        profile = tools.profiles.profile(file)
        asked = Asked(project=project, table=table, target=wanted.target, key=wanted.key, time=wanted.time)
        require_columns(asked, profile)
        drafted = plan(asked, profile, keys=_keys(asked, profile, file, tools))
        split = _split(drafted, file, tools)
        drafted, files, warnings = _tried(drafted, split, file, scratch, wanted, tools)
    return Drafted(plan=drafted, kept=keep(wanted.folder, files, as_of=tools.as_of.date()), warnings=warnings)


def _keys(asked: Asked, profile: TableProfile, file: Path, tools: Tools) -> int | None:
    """How many distinct keys there are."""
    if asked.key is None:
        return None
    return tools.profiles.distinct(file, [asked.key]) - (1 if profile.columns[asked.key].nulls else 0)


def _split(drafted: Plan, file: Path, tools: Tools) -> Split:
    if drafted.time is None:
        return by_content(drafted.share, as_of=tools.as_of)
    times = [tools.profiles.quantile(file, drafted.time.profile.name, share=part) for part in (0, 1 - drafted.share, 1)]
    today = int(tools.as_of.timestamp() * 1e6)
    if times[2] >= today:
        raise BadInput(
            f"--time names {drafted.time.profile.name!r}, whose newest row is of {drafted.time.profile.high}: not "
            f"before {tools.as_of:%Y-%m-%d} 00:00 UTC, up to which `towpath run` looks today.",
            value=drafted.time.profile.name,
            hint="Name the time at which the prediction is made, or leave out rows of today and later.",
        )
    return by_time(drafted.share, cut=times[1], first=times[0], as_of=tools.as_of)


def _tried(
    drafted: Plan, split: Split, file: Path, scratch: Path, wanted: Wanted, tools: Tools
) -> tuple[Plan, dict[str, str], list[str]]:
    """The plan without columns that leak, every file of the project, and warnings."""
    small = file
    if drafted.rows > _TRIAL_ROWS:
        small = scratch / "sample.parquet"
        tools.profiles.sample(file, rows=_TRIAL_ROWS, target=small)
    tools.told("trying the drafted model on its training rows")
    kind, by_time = _kind(drafted), drafted.time is not None
    drafted, both, warnings = _honest(drafted, kind, split, small, scratch, tools)
    train, holdout = both.train, both.holdout
    sweep = _sweep(len(train.labels))
    slices = judged_by(kind, holdout)
    files = repository(drafted, split, owner=tools.owner, slices=slices)
    tried = trial(kind, _fit(drafted, scratch), train, holdout, sweep, by_time=by_time, slices=slices)
    rows = len(train.labels) * drafted.rows // max(1, len(train.labels) + len(holdout.labels)) // drafted.every
    files |= declarations(
        drafted,
        split,
        owner=tools.owner,
        uri=data_uri(wanted),
        bounds=tried.bounds,
        sweep=sweep,
        min_rows=max(20, rows // 2) if small is not file else max(20, len(train.labels) // 2),
    )
    return drafted, files, [*warnings, *([tried.warning] if tried.warning else [])]


def _honest(
    drafted: Plan, kind: Kind, split: Split, file: Path, scratch: Path, tools: Tools
) -> tuple[Plan, Sides, list[str]]:
    """The plan without inputs that the path's leakage gates would refuse, its rows, and what was found, as warnings."""
    warnings: list[str] = []
    while True:
        both = sides(drafted, split, file, scratch, transforms=tools.transforms, owner=tools.owner)
        require_enough(kind, both.train, both.holdout, by_time=drafted.time is not None, before=warnings)
        found = leaks(both)
        leaking = {**found.columns, **disguised(kind, both.train)}
        warnings += [f"{name} is left out: {why}." for name, why in leaking.items()]
        if not leaking:
            return drafted, both, [*warnings, *found.warnings]
        drafted = drafted.without(leaking)
        if not drafted.inputs:
            raise BadInput(
                f"No column is left to learn from: {' '.join(warnings)}",
                value=drafted.asked.target,
                hint="Add columns that are known before the outcome, as they were measured.",
            )


def _kind(drafted: Plan) -> Kind:
    match drafted.target.task:
        case Task.REGRESSION:
            return Regression()
        case Task.MULTICLASS:
            return Multiclass(classes(drafted))
        case _:
            return Binary()


def _sweep(rows: int) -> list[Mapping[str, Any]]:
    """Parameter sets for so many training rows: the fewer, the simpler the trees."""
    leaf = 5 if rows < 200 else 20
    found: list[Mapping[str, Any]] = [
        {
            "learning_rate": 0.05,
            "max_iter": 100,
            "max_leaf_nodes": 7,
            "min_samples_leaf": leaf,
            "l2_regularization": 1.0,
        },
        {"learning_rate": 0.1, "max_iter": 100, "max_leaf_nodes": 15, "min_samples_leaf": leaf},
    ]
    if rows >= 5000:
        found.append({"learning_rate": 0.1, "max_iter": 200, "max_leaf_nodes": 31, "min_samples_leaf": 50})
    return found


def _fit(drafted: Plan, scratch: Path) -> Any:
    """The drafted `fit` itself."""
    file = scratch / "train.py"
    file.write_text(training_code(drafted), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(f"towpath_draft_{drafted.asked.project}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.fit


def table_name(wanted: Wanted, project: str) -> str:
    """What the table is called: as the file, or as the database calls it."""
    place, _, inside = wanted.data.partition("#") if "://" in wanted.data else (wanted.data, "", "")
    return identifier(inside.rpartition(".")[2] or Path(place).stem, fallback=project.replace("-", "_"))


def data_uri(wanted: Wanted) -> str:
    """The data as the charter names it: files relative to the project when both lie in one folder, else absolute."""
    scheme, there, rest = wanted.data.partition(":///")
    if "://" not in wanted.data:
        return _place(wanted.data, wanted.folder)
    if not there or scheme.partition("+")[0] != "sqlite":
        return wanted.data
    file = rest.partition("#")[0].partition("?")[0]
    return f"{scheme}:///{_place(file, wanted.folder)}{rest.removeprefix(file)}"


def _place(file: str, folder: Path) -> str:
    data, folder = Path(file).resolve(), folder.resolve()
    return Path(os.path.relpath(data, folder)).as_posix() if data.is_relative_to(folder.parent) else data.as_posix()
