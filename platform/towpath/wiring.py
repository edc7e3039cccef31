"""Settings become ports here, and nowhere else. Adapters are imported when they are needed: SDKs cost seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import randbelow
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from towpath import telemetry
from towpath.core import digest as digests
from towpath.core.errors import DeclarationError, Unwritable
from towpath.core.evidence import Record
from towpath.core.gates import Stage
from towpath.core.identity import Identity
from towpath.path import ORDER
from towpath.ports import (
    DataChecks,
    Evidence,
    FeatureStore,
    IdentityProvider,
    Keys,
    Ledger,
    Models,
    Objects,
    OnlineStore,
    Progress,
    PseudonymKeys,
    Purpose,
    Rollouts,
    Runtimes,
    Sources,
    TableProfiles,
    Tokens,
    Transforms,
)
from towpath.project import Project
from towpath.settings import Settings

if TYPE_CHECKING:
    from towpath.adapters.prediction_log import PredictionLog
    from towpath.adapters.prediction_log_compaction import Compaction
    from towpath.adapters.prediction_log_labels import LabelTables
    from towpath.adapters.prediction_log_retention import LogDays
    from towpath.adapters.s3_client import S3Settings
    from towpath.ledger.claims import Claims
    from towpath.stages.attest import Attesting
    from towpath.stages.reconcile_ports import ReconcilePorts
    from towpath.stages.reproduce_again import Reproducing
    from towpath.stages.supply import Supply
    from towpath.stages.work import Ports, Work


def now() -> datetime:
    """The clock: the only one that the path reads."""
    return datetime.now(UTC)


def moment(as_of: datetime | None) -> datetime:
    """The as-of time in UTC; without one, the beginning of today, so that a day's runs agree."""
    found = as_of or now().replace(hour=0, minute=0, second=0, microsecond=0)
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def open_ledger(settings: Settings, *, via: str | None = None) -> Ledger:
    """The ledger, created or upgraded when need be. `via` says in its records how it was known who acts."""
    from towpath.ledger.sql import SqlLedger

    return SqlLedger.open(settings.ledger, clock=now, keys=open_keys(settings), via=via, noted=noted(settings))


def open_keys(settings: Settings) -> Keys:
    """The keys that sign and those that are trusted; a new embedded installation's are made here."""
    from towpath.adapters.keys_local import LocalKeys

    prepare(settings)
    keys = LocalKeys(settings.keys)
    if settings.keys == settings.state / "keys":
        keys.ensure(at=now(), purposes=Purpose if settings.model_key is None else (Purpose.LEDGER,))
    if settings.model_key is None:
        return keys
    from towpath.adapters.keys_pkcs11 import TokenKeys

    return TokenKeys(keys, settings.model_key, pin=settings.model_pin)


def open_pseudonym_keys(settings: Settings) -> PseudonymKeys:
    """The keys of pseudonyms, beside those that sign; an embedded installation's are made when one is needed."""
    from towpath.adapters.masking_keys import LocalPseudonymKeys

    return LocalPseudonymKeys(settings.keys / "pseudonyms", own=settings.keys == settings.state / "keys")


def trusted_keys(settings: Settings, folder: Path | None = None) -> Keys:
    """The keys of a folder, to verify with; nothing is made, neither here nor there."""
    from towpath.adapters.keys_local import LocalKeys

    return LocalKeys(folder or settings.keys)


def noted(settings: Settings) -> Path:
    """The file of the checkpoint that is kept of this ledger, beside the keys and away from the database."""
    # A state folder that holds both may be moved as a whole.
    embedded = (settings.keys, settings.ledger) == (
        settings.state / "keys",
        f"sqlite:///{settings.state / 'ledger.db'}",
    )
    name = "ledger" if embedded else _place(settings.ledger)
    return settings.keys / "checkpoints" / f"{name}.txt"


def _place(url: str) -> str:
    """A name for a database: the same whoever connects, and with whatever password."""
    scheme, _, rest = url.partition("://")
    return f"{scheme.partition('+')[0]}-{digests.short(digests.of_bytes(rest.rpartition('@')[2].encode()))}"


def open_objects(settings: Settings) -> Objects:
    """The object store: a folder, or a bucket with a local cache in the state folder."""
    parts = urlsplit(settings.objects)
    if parts.scheme == "s3":
        from towpath.adapters.objects_s3 import S3Objects

        return S3Objects(parts.netloc, parts.path.strip("/"), settings=_s3(settings), cache=settings.state / "cache")
    if parts.scheme:
        raise DeclarationError(
            f"TOWPATH_OBJECTS has the scheme {parts.scheme!r}.",
            value=parts.scheme,
            valid=["s3://bucket/prefix", "a folder"],
        )
    from towpath.adapters.objects_local import LocalObjects

    return LocalObjects(Path(settings.objects))


def open_rollouts(settings: Settings, *, via: str | None = None) -> Rollouts:
    """The rollouts, in the ledger's database. `via` is as of `open_ledger`."""
    from towpath.ledger.rollouts import SqlRollouts

    return SqlRollouts.at(settings.ledger, clock=now, keys=open_keys(settings), via=via, noted=noted(settings))


def open_tokens(settings: Settings) -> Tokens:
    """The local tokens, in the ledger's database."""
    from towpath.ledger.tokens import SqlTokens

    prepare(settings)
    return SqlTokens.at(settings.ledger, clock=now, keys=open_keys(settings))


def open_claims(settings: Settings) -> Claims:
    """The requests that bore an Idempotency-Key, in the ledger's database."""
    from towpath.ledger.claims import Claims

    return Claims.at(settings.ledger, clock=now)


def open_provider(settings: Settings) -> IdentityProvider | None:
    """The OpenID provider whose tokens are accepted; None where none is named. It is asked at the first token."""
    if settings.oidc_issuer is None:
        return None
    from towpath.adapters.oidc_grants import GrantsFile, read
    from towpath.adapters.oidc_keys import ProviderKeys
    from towpath.adapters.oidc_tokens import OidcTokens

    return OidcTokens(
        ProviderKeys(settings.oidc_issuer),
        issuer=settings.oidc_issuer,
        audience=settings.oidc_audience,
        person=settings.oidc_person,
        grants=read(settings.oidc_grants) if settings.oidc_grants is not None else GrantsFile(),
    )


def open_models(settings: Settings) -> Models:
    """Tracking and registry of models."""
    telemetry.silence()
    from towpath.adapters.mlflow_models import MlflowModels

    return MlflowModels(settings.mlflow, artifacts=_artifacts(settings))


def open_runtimes(settings: Settings) -> Runtimes:  # noqa: ARG001 - like the others
    """Every way to serve a model."""
    from towpath.adapters.runtimes import ServingRuntimes

    return ServingRuntimes()


def open_supply() -> Supply:
    """What scans, signs and lists a model's files. Its libraries are imported when they are used: they cost seconds."""
    from towpath.adapters.bill_of_materials_cyclonedx import CycloneDxBills
    from towpath.adapters.mlflow_models_types import unreviewed
    from towpath.adapters.model_scan_scanner import ModelScanner
    from towpath.adapters.model_signing_openssf import OpenSsfSigner
    from towpath.adapters.statements_intoto import InTotoStatements
    from towpath.stages.supply import Supply

    return Supply(
        scanner=ModelScanner(types=unreviewed),
        signer=OpenSsfSigner(),
        statements=InTotoStatements(),
        bills=CycloneDxBills(),
    )


def open_attesting(settings: Settings, *, ledger: Ledger, actor: str) -> Attesting:
    """What attesting and verifying a candidate's files takes, without its project's folder."""
    from towpath.stages.attest import Attesting

    return Attesting(
        ledger=ledger,
        objects=open_objects(settings),
        models=open_models(settings),
        keys=open_keys(settings),
        supply=open_supply(),
        scratch=settings.state / "scratch",
        actor=actor,
    )


def open_reproducing(settings: Settings, *, ledger: Ledger, told: Callable[[str], None]) -> Reproducing:
    """What making a model again takes: the stored objects and the record, and no project's folder."""
    from towpath.stages.reproduce_again import Reproducing

    return Reproducing(
        ledger=ledger,
        objects=open_objects(settings),
        models=open_models(settings),
        keys=open_keys(settings),
        transforms=open_transforms(),
        features=open_features,
        scratch=settings.state / "scratch",
        told=told,
    )


def onnx_signature(file: Path) -> dict[str, object]:
    """What a compiled ONNX model takes and gives, as JSON."""
    from towpath.adapters.runtime_onnx import signature_of

    return signature_of(file)


def open_checks(settings: Settings) -> DataChecks:
    """The data checks, in the engine that the settings name."""
    from towpath.adapters.great_expectations_checks import GreatExpectationsChecks
    from towpath.adapters.great_expectations_engines import PostgreSQL
    from towpath.adapters.great_expectations_spark import Spark
    from towpath.adapters.spark_session import SparkMaster

    scheme = settings.checks.partition(":")[0].partition("+")[0]
    if settings.checks == "duckdb":
        return GreatExpectationsChecks()
    if settings.checks == "spark":
        return GreatExpectationsChecks(engine=Spark(master=SparkMaster(address=settings.spark)))
    if scheme == "postgresql":
        return GreatExpectationsChecks(engine=PostgreSQL(url=settings.checks))
    raise DeclarationError(
        f"TOWPATH_CHECKS names no engine: {scheme!r}.", value=scheme, valid=["duckdb", "spark", "postgresql://…"]
    )


def open_transforms() -> Transforms:
    """What runs a feature repository's SQL."""
    from towpath.adapters.duckdb_transforms import DuckdbTransforms

    return DuckdbTransforms()


def open_profiles() -> TableProfiles:
    """What measures a table that a project is drafted for."""
    from towpath.adapters.profile_duckdb import DuckdbProfiles

    return DuckdbProfiles()


def open_features() -> FeatureStore:
    """The feature store."""
    telemetry.silence()
    from towpath.adapters.feast_features import FeastFeatures

    return FeastFeatures()


def open_prediction_log(settings: Settings) -> PredictionLog:
    """The writer of the prediction log: a folder, or a bucket."""
    from towpath.adapters.prediction_log import PredictionLog
    from towpath.adapters.prediction_log_places import place

    return PredictionLog(place(settings.predictions, s3=_s3(settings), cache=_fetched(settings)))


def open_compaction(settings: Settings) -> Compaction:
    """What merges the prediction log's files."""
    from towpath.adapters.prediction_log_compaction import Compaction
    from towpath.adapters.prediction_log_places import place

    found = place(settings.predictions, s3=_s3(settings), cache=_fetched(settings))
    return Compaction(found, clock=now, after=timedelta(minutes=randbelow(60)))


def lineage_lines(records: Iterable[Record]) -> Iterator[str]:
    """The stages' entries as OpenLineage events, a line of JSON each."""
    from towpath.adapters.lineage_openlineage import lines

    return lines(records)


def send_lineage(records: Iterable[Record], url: str) -> int:
    """Send the stages' entries to an OpenLineage collector; how many."""
    from towpath.adapters.lineage_openlineage import send

    return send(records, url)


def open_log_days(settings: Settings) -> LogDays:
    """The prediction log by day, for removing old ones."""
    from towpath.adapters.prediction_log_places import place
    from towpath.adapters.prediction_log_retention import LogDays

    return LogDays(place(settings.predictions, s3=_s3(settings), cache=_fetched(settings)))


def open_evidence(settings: Settings) -> Evidence:
    """The prediction log's reader, for judging rollouts."""
    from towpath.adapters.prediction_log_evidence import PredictionLogEvidence
    from towpath.adapters.prediction_log_places import place

    return PredictionLogEvidence(place(settings.predictions, s3=_s3(settings), cache=_fetched(settings)), clock=now)


def open_labels(settings: Settings) -> LabelTables:
    """What writes tables of labels to the prediction log."""
    from towpath.adapters.prediction_log_labels import LabelTables
    from towpath.adapters.prediction_log_places import place

    return LabelTables(place(settings.predictions, s3=_s3(settings), cache=_fetched(settings)), clock=now)


def open_online(settings: Settings, repository: Path, feast_state: Path) -> OnlineStore:  # noqa: ARG001 - like the others
    """The online store of a feature repository whose Feast state lies in `feast_state`. Takes seconds."""
    telemetry.silence()
    from towpath.adapters.online_features import open_online

    return open_online(repository, feast_state)


def open_sources(settings: Settings) -> Sources:
    """What reads sources by their address."""
    from towpath.adapters.sources import UriSources

    return UriSources(s3=_s3(settings))


def open_ports(settings: Settings, *, via: str | None = None) -> Ports:
    """Every port. `via` is as of `open_ledger`."""
    telemetry.silence()
    from towpath.adapters.evidently_drift import EvidentlyDrift
    from towpath.adapters.mlflow_models import MlflowModels
    from towpath.adapters.sources import UriSources
    from towpath.stages.work import Ports

    return Ports(
        ledger=open_ledger(settings, via=via),
        objects=open_objects(settings),
        sources=UriSources(s3=_s3(settings)),
        checks=open_checks(settings),
        transforms=open_transforms(),
        features=open_features(),
        models=MlflowModels(settings.mlflow, artifacts=_artifacts(settings)),
        drift=EvidentlyDrift(),
        runtimes=open_runtimes(settings),
        keys=open_keys(settings),
        pseudonyms=open_pseudonym_keys(settings),
        supply=open_supply(),
    )


def open_work(
    settings: Settings,
    project: Project,
    *,
    as_of: datetime | None,
    progress: Progress,
    order: tuple[Stage, ...] = ORDER,
    identity: Identity | None = None,
    **ports: Any,
) -> Work:
    """All that the stages need, seen from `moment(as_of)`. `identity`: who goes; the settings' actor without one."""
    from dataclasses import replace

    from towpath.stages.work import Work

    opened = open_ports(settings, via=identity.via if identity is not None else None)
    return Work(
        project=project,
        as_of=moment(as_of),
        actor=identity.person if identity is not None else settings.actor,
        ports=replace(opened, **ports) if ports else opened,
        progress=progress,
        state=settings.state,
        order=order,
    )


def open_reconcile(
    settings: Settings,
    project: Project | None,
    *,
    actor: str,
    via: str | None = None,
    prefect: tuple[Path, str, str | None] | None = None,
) -> ReconcilePorts:
    """What the reconciler acts on. `prefect`: a file of deployments, the API's address, its shared password.

    Without the project's folder no feature store can be opened, and none is looked at.
    """
    telemetry.silence()
    from towpath.adapters.alerts_apprise import AppriseAlerts
    from towpath.adapters.gateways_http import HttpGateways
    from towpath.adapters.mlflow_models import MlflowModels
    from towpath.adapters.mlflow_models_registry import MlflowRegistry
    from towpath.adapters.prefect_deployments import PrefectDeployments
    from towpath.stages.reconcile_ports import FeatureRegistry, FeatureState, ReconcilePorts

    def features(state: FeatureState) -> FeatureRegistry:
        from towpath.adapters.feast_features_registry import FeastRegistry

        assert project is not None
        home = settings.state / "features" / state.folder
        return FeastRegistry(
            project.repository,
            project.charter.features.service,
            sources=home / "sources",
            state=home / "feast",
            until=state.until,
        )

    models = MlflowModels(settings.mlflow, artifacts=_artifacts(settings))
    return ReconcilePorts(
        ledger=open_ledger(settings, via=via),
        rollouts=open_rollouts(settings, via=via),
        registry=MlflowRegistry(models),
        models=lambda: models,
        alerts=AppriseAlerts(settings.alerts),
        actor=actor,
        scratch=settings.state / "scratch",
        gateways=HttpGateways(),
        addresses=settings.gateways,
        features=None if project is None else features,
        repository=None if project is None else project.repository_digest,
        deployments=None if prefect is None else PrefectDeployments(prefect[0], prefect[1], auth=prefect[2]),
    )


def prepare(settings: Settings) -> None:
    """Make the state folder. Raises `Unwritable`."""
    try:
        settings.state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unwritable(
            f"The state folder {settings.state} cannot be made: {error.strerror}.",
            value=str(settings.state),
            hint="Set TOWPATH_STATE to a folder that can be written.",
        ) from error


def _artifacts(settings: Settings) -> str | None:
    if settings.artifacts is None or "://" in settings.artifacts:
        return settings.artifacts
    return Path(settings.artifacts).absolute().as_uri()


def _fetched(settings: Settings) -> Path:
    """Where files of the prediction log that a bucket holds are kept once fetched."""
    return settings.state / "cache" / "predictions"


def _s3(settings: Settings) -> S3Settings:
    from towpath.adapters.s3_client import S3Settings

    return S3Settings(endpoint=settings.s3_endpoint, region=settings.s3_region)
