"""What `towpath doctor` looks at. It makes and changes nothing but a file that it removes again."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from towpath import __version__, telemetry
from towpath.cli import opening, output
from towpath.core.errors import DeclarationError, Problems, TowpathError
from towpath.settings import VARIABLES, Settings

SERVICES = ("prefect", "great-expectations", "feast", "mlflow", "evidently")
LIBRARIES = ("scikit-learn", "duckdb", "sqlalchemy", "skops")
_PYTHON = ((3, 11), (3, 13))
_LEAST_BYTES = 2_000_000_000
_SECONDS = 5


@dataclass(frozen=True, kw_only=True)
class Line:
    """One thing looked at: how it is, what was found, and what to do unless it is well."""

    what: str
    state: Literal["ok", "warn", "fail"]
    found: str
    mend: str = ""


def lines() -> list[Line]:
    """Everything, in the order in which one thing stands on another."""
    found = [_python(), *_installed(), _example(), *_tools(), *_quiet()]
    try:
        settings = opening.settings()
    except TowpathError as error:
        problems = error.problems if isinstance(error, Problems) else (error,)
        return [*found, *(_failed("settings", problem) for problem in problems)]
    found += [*_settings(settings), _state(settings), _disk(settings)]
    found.append(_try("ledger", lambda: _ledger(settings)))
    found.append(_try("objects", lambda: _objects(settings)))
    found.append(_try("mlflow", lambda: _mlflow(settings)))
    found.append(_try("prefect", _prefect))
    return found


def _try(what: str, look: Callable[[], Line]) -> Line:
    try:
        return look()
    except TowpathError as error:
        return _failed(what, error)
    except Exception as error:  # noqa: BLE001 - a library's own words are worth more than no diagnosis
        return Line(what=what, state="fail", found=f"{type(error).__name__}: {error}", mend="Install Towpath anew.")


def _failed(what: str, error: TowpathError) -> Line:
    valid = f"Valid: {', '.join(error.valid)}. " if error.valid else ""
    return Line(what=what, state="fail", found=error.message, mend=valid + error.hint)


def _python() -> Line:
    low, high = (".".join(map(str, version)) for version in _PYTHON)
    found = f"{platform.python_version()} at {sys.executable}, towpath {__version__}"
    if _PYTHON[0] <= sys.version_info[:2] <= _PYTHON[1]:
        return Line(what="python", state="ok", found=found)
    return Line(
        what="python", state="fail", found=found, mend=f"Towpath is tested on Python {low} to {high}: use one of them."
    )


def _installed() -> Iterator[Line]:
    wanted = {name: _wanted(name) for name in (*SERVICES, *LIBRARIES)}
    for name, specifier in wanted.items():
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield Line(what=name, state="fail", found="not installed", mend="Install Towpath anew: pip install towpath")
            continue
        if specifier and not _fits(version, specifier):
            mend = f"Towpath is made for {name}{specifier}: pip install '{name}{specifier}'"
            yield Line(what=name, state="fail", found=version, mend=mend)
        else:
            yield Line(what=name, state="ok", found=version)


def _wanted(name: str) -> str:
    """What our own metadata asks of a distribution."""
    from packaging.requirements import Requirement

    for text in importlib.metadata.requires("towpath") or []:
        requirement = Requirement(text)
        if requirement.name.lower().replace("_", "-") == name:
            return str(requirement.specifier)
    return ""


def _fits(version: str, specifier: str) -> bool:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(specifier).contains(version, prereleases=True)


def _example() -> Line:
    from towpath.example.landing import DISTRIBUTION

    try:
        return Line(what="example data", state="ok", found=f"{DISTRIBUTION} {importlib.metadata.version(DISTRIBUTION)}")
    except importlib.metadata.PackageNotFoundError:
        mend = "Only `towpath demo` needs it: pip install 'towpath[example]'"
        return Line(what="example data", state="warn", found=f"{DISTRIBUTION} is not installed", mend=mend)


def _tools() -> Iterator[Line]:
    for name, use in (("git", "entries then say which commit the code was"), ("uv", "only `make lock` needs it")):
        found = shutil.which(name)
        if found:
            yield Line(what=name, state="ok", found=found)
        elif name == "git":
            yield Line(what=name, state="warn", found="not on the PATH", mend=f"Install git: {use}.")
        else:
            yield Line(what=name, state="ok", found=f"not on the PATH; {use}")


def _quiet() -> Iterator[Line]:
    """Phone-home: ours are switched off by the time a service is imported; the environment may still say otherwise."""
    loud = {name: os.environ[name] for name, value in telemetry.SILENT.items() if os.environ.get(name, value) != value}
    if loud:
        found = ", ".join(f"{name}={value}" for name, value in loud.items())
        mend = "Towpath overrides it; other programs of yours will send usage data."
        yield Line(what="telemetry", state="warn", found=found, mend=mend)
    else:
        yield Line(what="telemetry", state="ok", found=f"switched off: {', '.join(telemetry.SILENT)}")
    if os.environ.get("INTRA_COMMUNICATION_BASE64"):
        yield Line(
            what="feast",
            state="fail",
            found="INTRA_COMMUNICATION_BASE64 is set: Feast accepts unverified tokens that match it",
            mend="Unset it.",
        )


def _settings(settings: Settings) -> Iterator[Line]:
    values = {
        "TOWPATH_STATE": str(settings.state),
        "TOWPATH_LEDGER": _without_password(settings.ledger),
        "TOWPATH_OBJECTS": settings.objects,
        "TOWPATH_PREDICTIONS": settings.predictions,
        "TOWPATH_CHECKS": _without_password(settings.checks),
        "TOWPATH_SPARK": settings.spark,
        "TOWPATH_MLFLOW": _without_password(settings.mlflow),
        "TOWPATH_ARTIFACTS": settings.artifacts or "the server's own",
        "TOWPATH_S3_ENDPOINT": settings.s3_endpoint or "AWS",
        "TOWPATH_S3_REGION": settings.s3_region or "the credential chain's",
        "TOWPATH_ACTOR": settings.actor,
        "TOWPATH_KEYS": str(settings.keys),
        "TOWPATH_MODEL_KEY": settings.model_key.text() if settings.model_key else "",
        "TOWPATH_MODEL_PIN": "is set" if settings.model_pin else "",
        "TOWPATH_MODEL_TRUST": str(settings.model_trust or ""),
        "TOWPATH_TOKEN": "is set" if settings.token else "",
        "TOWPATH_SERVER": settings.server or "",
        "TOWPATH_OIDC_ISSUER": settings.oidc_issuer or "",
        "TOWPATH_OIDC_AUDIENCE": settings.oidc_audience,
        "TOWPATH_OIDC_PERSON": settings.oidc_person,
        "TOWPATH_OIDC_GRANTS": str(settings.oidc_grants or ""),
        "TOWPATH_ALERTS": f"{len(settings.alerts)} addresses" if settings.alerts else "",
        "TOWPATH_GATEWAYS": " ".join(settings.gateways),
    }
    for variable in VARIABLES:
        given = os.environ.get(variable.name, "").strip()
        origin = "from the environment" if given else f"default: {variable.default}"
        yield Line(what=variable.name, state="ok", found=f"{values[variable.name]} ({origin})".lstrip())


def _without_password(url: str) -> str:
    from urllib.parse import urlsplit, urlunsplit

    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:***@{host}"))


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next((item for item in (folder, *folder.parents) if item.exists()), Path("/"))


def _state(settings: Settings) -> Line:
    folder = _existing(settings.state)
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-"):
            pass
    except OSError as error:
        mend = "Set TOWPATH_STATE to a folder that you may write to, or mend the rights of this one."
        found = f"{settings.state} cannot be written: {error.strerror}"
        return Line(what="state folder", state="fail", found=found, mend=mend)
    there = "writable" if folder == settings.state else f"not there yet; {folder} is writable"
    return Line(what="state folder", state="ok", found=f"{settings.state}: {there}")


def _disk(settings: Settings) -> Line:
    free = shutil.disk_usage(_existing(settings.state)).free
    found = f"{output.size(free)} free"
    if free < _LEAST_BYTES:
        mend = f"Free some: the example alone needs about {output.size(_LEAST_BYTES)}."
        return Line(what="disk", state="warn", found=found, mend=mend)
    return Line(what="disk", state="ok", found=found)


def _ledger(settings: Settings) -> Line:
    file = opening.embedded_ledger(settings)
    if file is not None and not file.exists():
        return Line(what="ledger", state="ok", found=f"{file} is not there yet; the first run makes it")
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    from towpath.ledger import engine, schema
    from towpath.ledger.table import VERSION_TABLE

    newest = ScriptDirectory(str(schema.MIGRATIONS)).get_heads()
    database = engine.connect(settings.ledger)
    try:
        with database.reading() as connection:
            current = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_heads()
    finally:
        database.engine.dispose()
    known = {script.revision for script in ScriptDirectory(str(schema.MIGRATIONS)).walk_revisions()}
    if unknown := sorted(set(current) - known):
        raise DeclarationError(
            f"{database.name} has schema {', '.join(unknown)}, which this Towpath does not know.",
            valid=sorted(known),
            hint="A newer Towpath wrote it: upgrade this one.",
        )
    found = f"{database.name} answers, schema {', '.join(current) or 'none yet'}"
    if set(current) != set(newest):
        found += f"; the next command that opens it brings it to {', '.join(newest)}"
    return Line(what="ledger", state="ok", found=found)


def _objects(settings: Settings) -> Line:
    from towpath import wiring
    from towpath.core import digest as digests

    if "://" not in settings.objects and not Path(settings.objects).exists():
        return Line(what="objects", state="ok", found=f"{settings.objects} is not there yet; the first run makes it")
    wiring.open_objects(settings).has(digests.of_bytes(b""))
    return Line(what="objects", state="ok", found=f"{settings.objects} answers")


def _mlflow(settings: Settings) -> Line:
    if settings.mlflow.startswith(("http://", "https://")):
        return _answers(
            "mlflow", f"{settings.mlflow.rstrip('/')}/health", mend="Start it (`towpath up`) or mend TOWPATH_MLFLOW."
        )
    if settings.mlflow.startswith("sqlite:///"):
        file = Path(settings.mlflow.removeprefix("sqlite:///"))
        there = "is there" if file.exists() else "is not there yet; the first run makes it"
        return Line(what="mlflow", state="ok", found=f"{file} {there}")
    from sqlalchemy import create_engine, make_url

    url = make_url(settings.mlflow)
    engine = create_engine(url)
    try:
        with engine.connect():
            return Line(what="mlflow", state="ok", found=f"{url.render_as_string()} answers")
    except Exception as error:  # noqa: BLE001 - whatever driver MLflow was given
        found = f"{url.render_as_string()} does not answer: {type(error).__name__}"
        return Line(what="mlflow", state="fail", found=found, mend="Start it or mend TOWPATH_MLFLOW.")
    finally:
        engine.dispose()


def _prefect() -> Line:
    url = os.environ.get("PREFECT_API_URL", "").strip()
    if not url:
        found = "PREFECT_API_URL is not set: flows start a server of their own while they run"
        return Line(what="prefect server", state="ok", found=found)
    return _answers(
        "prefect server", f"{url.rstrip('/')}/health", mend="Start it (`towpath up`) or unset PREFECT_API_URL."
    )


def _answers(what: str, url: str, *, mend: str) -> Line:
    import requests

    try:
        answer = requests.get(url, timeout=_SECONDS)
    except requests.RequestException as error:
        return Line(what=what, state="fail", found=f"{url} does not answer: {type(error).__name__}", mend=mend)
    if not answer.ok:
        return Line(what=what, state="fail", found=f"{url} answers {answer.status_code}", mend=mend)
    return Line(what=what, state="ok", found=f"{url} answers")
