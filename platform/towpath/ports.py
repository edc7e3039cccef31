"""What the path asks of the world, as Protocols of a few methods. Read this page first.

Everything large is passed by digest or by path, never as a dataframe; what a port returns is a value of the core or a
small frozen dataclass from here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from towpath.core.contract import Contract
from towpath.core.evidence import Finding, Record, RecordKind
from towpath.core.identity import EVERY_PROJECT, Identity, Kind, Proof, Role
from towpath.core.looks import Look
from towpath.core.rollout import Rollout, Telemetry
from towpath.core.rollout_policy import RolloutPolicy
from towpath.core.tampering import Tampering

# --- the record -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A record to be written: everything but its place in the chain, its time and its author.

    `key` names the work; a second draft with the same key is not written, the first record is returned.
    """

    kind: RecordKind
    project: str
    candidate: str
    stage: str
    key: str | None
    digest: str
    body: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A record that is not as it was written: its place, and what is wrong with it."""

    sequence: int
    what: str
    kind: Tampering | None = None


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The result of reading the whole chain. `head` is the hash of the last record (None when empty).

    `faults`: all that is wrong, row by row. `verdict`: the first bad record and what was done to it; None when whole.
    `signed`: how many records have a signature by a trusted key, which was checked.
    """

    records: int
    head: str | None
    faults: tuple[Fault, ...]
    verdict: Fault | None = None
    signed: int = 0

    @property
    def whole(self) -> bool:
        return not self.faults


class Ledger(Protocol):
    """The append-only, hash-chained record."""

    def append(self, draft: Draft, *, actor: str, behind: str | None = None) -> Record:
        """Write a record, or return the one already written under the draft's key.

        `behind`: the hash of the record that must be the last one; raises `Conflict`, and writes nothing, when it is
        not. So what was decided on the record as read is written only while that is still the whole record.
        """
        ...

    def head(self) -> Record | None:
        """The last record. Its sequence and hash, noted elsewhere, show later whether the end was cut off."""
        ...

    def find(self, key: str) -> Record | None:
        """The record written under that key."""
        ...

    def records(
        self,
        *,
        project: str | None = None,
        candidate: str | None = None,
        kind: RecordKind | None = None,
        after: int = 0,
    ) -> Iterator[Record]:
        """Records in order of their sequence, those beyond `after`."""
        ...

    def verify(self, *, trusting: timedelta | None = None) -> Verification:
        """Recompute every hash, the chain and the signatures.

        `trusting`: for how long after a verification of everything what it found whole is taken for whole still; then
        only its last record and those behind it are looked at.
        """
        ...

    def close(self) -> None:
        """Give back the connections."""
        ...


class Rollouts(Protocol):
    """The rollouts, in the ledger's database: at most one of a project is open."""

    def open(self, project: str) -> Rollout | None:
        """The project's rollout that is in no final phase."""
        ...

    def get(self, rollout_id: str) -> Rollout:
        """Raises `NotFound`."""
        ...

    def history(self, project: str) -> tuple[Rollout, ...]:
        """Every rollout of the project, the newest first."""
        ...

    def create(self, rollout: Rollout, draft: Draft, *, actor: str, behind: str | None = None) -> Record:
        """Begin a rollout, row and record in one transaction. Raises `Denied` while another of the project is open.

        `behind`: as of `Ledger.append`.
        """
        ...

    def advance(
        self, before: Rollout, after: Rollout, draft: Draft | None, *, actor: str, behind: str | None = None
    ) -> Record | None:
        """Replace `before` by `after`, row and record in one transaction.

        Raises `Denied`, and writes nothing, when the generation is no longer that of `before`, or when a record has the
        draft's key already. The lease stays what it is. `behind`: as of `Ledger.append`.
        """
        ...

    def renew(self, rollout_id: str, generation: int, until: datetime) -> bool:
        """Extend the lease of that generation, never shorten it; False when the rollout has moved on."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What the champion's recent log says, as far as a policy's guardrails ask: from its first request to its last.

    `thresholds`: of each guardrail with `championP99`, by name: the 99th percentile of single predictions. `rates`: as
    `towpath.core.rollout_power` wants them: of a rate or exceedance the share of bad units, of a mean the standard
    deviation over units of the capped mean. What nothing is known of is left out of both.
    """

    since: datetime
    until: datetime
    requests: int
    units: int  # distinct ones; requests where the policy names no unit
    thresholds: Mapping[str, float]
    rates: Mapping[str, float]


class Evidence(Protocol):
    """What the prediction log and the labels say. Needs no service but the log's own store."""

    def look(self, rollout: Rollout) -> Look:
        """The evidence since the rollout's start, cumulative: a unit counts in the stratum of its assignment.

        Strata are by (step, weight), weight 0 left out: mirrored requests are no assignment. The same log gives the
        same look; a log that grew gives another watermark. Counts of bad units do not fall below those judged before.
        """
        ...

    def telemetry(self, rollout: Rollout) -> Telemetry:
        """Whether the gateways are heard and hold the rollout, and what the shadow has seen."""
        ...

    def baseline(self, project: str, *, model: str, policy: RolloutPolicy, since: datetime) -> Baseline | None:
        """What the log says of the model with that digest, as champion, since then; None when it says nothing."""
        ...

    def close(self) -> None:
        """Forget what was read."""
        ...


class Objects(Protocol):
    """A content-addressed store of files."""

    def put(self, file: Path) -> str:
        """Store the file's bytes (a second time does nothing) and return their digest."""
        ...

    def fetch(self, digest: str) -> Path:
        """A local, read-only file with exactly those bytes.

        Raises `NotFound` when there is none and `IntegrityError` when the stored bytes have another digest.
        """
        ...

    def has(self, digest: str) -> bool: ...

    def remove(self, digest: str) -> bool:
        """Remove an object for good; whether there was one. What is removed, `towpath.stages.retention` decides."""
        ...


# --- who acts --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class TokenGrant:
    """What a new local token shall say: whose it is, under which account, and what it may."""

    person: str
    account: str
    kind: Kind
    grants: Mapping[str, frozenset[Role]]
    expires_at: datetime

    @property
    def administers(self) -> bool:
        """Whether who holds it can make other tokens: a person with platform-admin in every project."""
        return self.kind is Kind.PERSON and Role.PLATFORM_ADMIN in self.grants.get(EVERY_PROJECT, frozenset())


@dataclass(frozen=True, kw_only=True)
class Token(TokenGrant):
    """A local token as the installation knows it. The secret is known to nobody but who was given it."""

    token_id: str
    issued_by: str
    created_at: datetime
    revoked_at: datetime | None = None

    def identity(self) -> Identity:
        """Who acts with it."""
        return Identity(
            person=self.person,
            account=self.account,
            kind=self.kind,
            proof=Proof.TOKEN,
            credential=self.token_id,
            issued_by=self.issued_by,
            grants=self.grants,
        )


class Tokens(Protocol):
    """The local tokens of an installation, in the ledger's database. Making or revoking one is a record of its own."""

    def any(self) -> bool:
        """Whether one was ever made, be it revoked or expired since. From then on a name alone does nothing."""
        ...

    def now(self) -> datetime:
        """The time by which credentials expire: the clock's, or the last record's where that is later."""
        ...

    def create(self, wanted: TokenGrant, *, by: Identity, provider: bool = False) -> tuple[Token, str]:
        """Make a token; returns it, and the text that proves it, which nobody can look up again.

        `provider`: whether people can be known by an OpenID provider too. Else the first token must be a person's with
        platform-admin everywhere: raises `Denied`. Raises `Unauthenticated` when `by` is a name that was only claimed,
        and the installation asks for proof.
        """
        ...

    def identify(self, text: str) -> Identity:
        """Who holds that token. Raises `Unauthenticated` for one that is unknown, revoked, expired or changed."""
        ...

    def all(self) -> tuple[Token, ...]:
        """Every token that was ever made, the oldest first."""
        ...

    def revoke(self, token_id: str, *, by: Identity, reason: str, provider: bool = False) -> Token:
        """Let a token prove nothing any more; one that is revoked already stays as it is.

        Raises `NotFound`, and `Denied` for the last token of a platform admin where no `provider` knows another.
        """
        ...

    def close(self) -> None: ...


class IdentityProvider(Protocol):
    """The organisation's OpenID provider."""

    def identify(self, token: str, *, now: datetime) -> Identity:
        """Who the provider says holds that token, with the roles that their groups have here.

        Raises `Unauthenticated`, with the check that failed and without the token, and `Unreachable` while the
        provider is down and its keys are not known.
        """
        ...


# --- keys and signatures ----------------------------------------------------------------------------------------------


class Purpose(StrEnum):
    """What a key signs. A key of one purpose verifies nothing of another."""

    LEDGER = "ledger"
    """Records and checkpoints: Ed25519."""
    MODEL = "model"
    """Models and statements about candidates: ECDSA on P-256, as OpenSSF model signing has it."""


@dataclass(frozen=True, kw_only=True)
class TrustedKey:
    """A public key that is trusted, or was until it was revoked.

    `key_id`: the first 32 hex digits of the SHA-256 of its DER form (SubjectPublicKeyInfo). `revoked_after`: the
    ledger's last sequence number when it was revoked; what it signed behind that counts for nothing.
    """

    key_id: str
    purpose: Purpose
    pem: str
    added_at: str
    revoked_at: str | None = None
    revoked_after: int | None = None
    reason: str = ""


class Keys(Protocol):
    """Private keys that this process may use, and the public keys that are trusted."""

    def key_id(self, purpose: Purpose) -> str | None:
        """The id of the key that signs now; None where this process has none."""
        ...

    def sign(self, purpose: Purpose, payload: bytes) -> tuple[str, bytes]:
        """The key's id and its signature over the payload. Raises `Misconfigured` where this process has no key."""
        ...

    def private_file(self, purpose: Purpose) -> Path:
        """The private key as a PEM file (PKCS #8), for libraries that want a file. Raises `Misconfigured`."""
        ...

    def trusted(self, purpose: Purpose) -> Mapping[str, TrustedKey]:
        """Every key that is or was trusted, by id."""
        ...

    def verifies(self, purpose: Purpose, key_id: str, payload: bytes, signature: bytes) -> bool:
        """Whether that key is known and made that signature. Revocation is the caller's question."""
        ...

    def rotate(self, purpose: Purpose, *, at: datetime) -> TrustedKey:
        """Make a new key, which signs from now on; the old one stays trusted for what it signed."""
        ...

    def revoke(self, key_id: str, *, at: datetime, after: int, reason: str) -> TrustedKey:
        """Trust a key no longer. Raises `NotFound`."""
        ...


# --- data -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A source's table as it was: one Parquet file with its rows."""

    file: Path
    rows: int
    columns: Mapping[str, str]  # name -> Arrow type


class Sources(Protocol):
    """Reads a source into one Parquet file."""

    def snapshot(self, uri: str, *, base: Path, target: Path, until: tuple[str, datetime] | None) -> Snapshot:
        """Snapshot the rows of `uri` into `target`, those with `until[0] < until[1]` when given (UTC)."""
        ...

    def fingerprint(self, uri: str, *, base: Path) -> str | None:
        """A digest that changes with the source's content, without reading it as a table; None when there is none."""
        ...


@dataclass(frozen=True, kw_only=True)
class TableChecked:
    """One table after its checks: the rows that hold (`accepted`) and those that do not, each with its reasons."""

    accepted: Path
    rows: int
    quarantine: Path | None
    quarantined: int


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What the checks of all contracts found."""

    findings: tuple[Finding, ...]
    tables: Mapping[str, TableChecked]
    page: Path  # HTML, for people
    raw: Path  # the engine's own result, JSON


class DataChecks(Protocol):
    """Runs what contracts say against tables, where the data lies."""

    def run(
        self, tables: Mapping[str, Path], contracts: Sequence[Contract], *, as_of: datetime, folder: Path
    ) -> CheckReport:
        """Check the Parquet files named by table; write accepted and quarantined rows and the reports into `folder`."""
        ...


# --- features ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class FeatureTables:
    """The output of a repository's transforms: one Parquet file a feature source, and the spine of prediction rows."""

    sources: Mapping[str, Path]
    spine: Path


@dataclass(frozen=True, kw_only=True)
class Replay:
    """Rebuilding the feature sources from only what was known at `instant`: which source differed, in how many rows."""

    source: str
    instant: datetime
    rows: int
    differing: int
    example: str


@dataclass(frozen=True, kw_only=True)
class Window:
    """A half-open span of prediction times, UTC: `start <= event_timestamp < end`."""

    start: datetime
    end: datetime


class Transforms(Protocol):
    """Runs a feature repository's SQL transforms over the checked tables."""

    def build(self, repository: Path, tables: Mapping[str, Path], *, window: Window, target: Path) -> FeatureTables:
        """Build every feature source, and the spine: rows of `window` whose label was known before its end."""
        ...

    def replay(
        self,
        repository: Path,
        tables: Mapping[str, Path],
        built: FeatureTables,
        *,
        known_at: Mapping[str, Mapping[str, str]],
        instants: Sequence[datetime],
    ) -> tuple[Replay, ...]: ...


@dataclass(frozen=True, kw_only=True)
class FeatureView:
    """A declared feature view: its name, join keys, features (columns) and source file name."""

    name: str
    keys: tuple[str, ...]
    features: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Parity:
    """Offline against online on sampled entities of one view."""

    view: str
    sampled: int
    differing: int
    example: str


class FeatureStore(Protocol):
    """The feature store: point-in-time training sets, and the online answers."""

    def views(self, repository: Path, service: str) -> tuple[FeatureView, ...]:
        """What the service serves; raises `DeclarationError` for a repository that does not load."""
        ...

    def training_set(self, repository: Path, service: str, *, sources: Path, spine: Path, target: Path) -> int:
        """Apply the repository, join the spine point-in-time as known, write Parquet; returns the rows.

        Beside the features, each view's joined row gives `<view>__event_timestamp` and `<view>__created_timestamp`.
        """
        ...

    def materialize(self, repository: Path, service: str, *, sources: Path, until: datetime) -> None: ...

    def parity(
        self, repository: Path, service: str, *, sources: Path, spine: Path, until: datetime, sample: int, folder: Path
    ) -> tuple[tuple[Parity, ...], Path, Path]:
        """Online answers against the offline join at `until`, on sampled rows of the spine.

        Also writes the sampled rows as both stores give them (offline, online), Parquet in `folder`.
        """
        ...


# --- models -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ModelRun:
    """A tracked training run: identifiers of the tracking service and the digest of the model's payload."""

    run_id: str
    model_id: str
    model_digest: str
    artifact_digest: str


@dataclass(frozen=True, kw_only=True)
class RegisteredModel:
    """A version in the registry."""

    name: str
    version: str
    run_id: str
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """All that a tracked training run says of itself."""

    experiment: str
    name: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    dataset: Path
    dataset_digest: str
    environment: Mapping[str, str]
    children: Sequence[tuple[str, Mapping[str, str], Mapping[str, float]]] = ()


class Models(Protocol):
    """Tracking and registry of models."""

    def save(self, model: Any, *, example: Any, prediction: Any, folder: Path) -> str:
        """Save a model without pickle, with its signature; returns its payload's digest, equal for equal models."""
        ...

    def load(self, folder: Path) -> Any:
        """Load a saved model; refuses types that were not reviewed."""
        ...

    def log(self, run: TrainingRun, *, folder: Path) -> ModelRun:
        """Record a training run with its saved model; the same key in `tags` finds the run instead of doubling it."""
        ...

    def verified(self, run: ModelRun, *, target: Path) -> Path:
        """The logged model's folder, downloaded; raises `IntegrityError` when its bytes are not the recorded ones."""
        ...

    def register(self, name: str, run: ModelRun, *, tags: Mapping[str, str], alias: str) -> RegisteredModel: ...

    def attach(self, run_id: str, files: Sequence[Path], *, folder: str) -> None:
        """Add files to a run's artifacts."""
        ...

    def promote(self, name: str, version: str, *, alias: str, tags: Mapping[str, str]) -> None: ...

    def by_alias(self, name: str, alias: str) -> RegisteredModel | None: ...


# --- serving ----------------------------------------------------------------------------------------------------------


class Runtime(Protocol):
    """A model ready to score rows, without pandas. `inline`: it may be called in an event loop (microseconds)."""

    kind: str
    columns: tuple[str, ...]
    inline: bool

    def predict(self, rows: Sequence[Sequence[object]]) -> list[float]:
        """The probability of class 1 of each row; a row holds text, numbers or None in the order of `columns`."""
        ...

    async def predict_apart(self, rows: Sequence[Sequence[object]]) -> list[float]:
        """The same without blocking the caller's event loop, in a process of the runtime's own where it is slow."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """A model converted for serving: the kind of runtime that opens it, and one file, the same bytes every time."""

    kind: str
    file: Path


class Runtimes(Protocol):
    """Converts models for serving, and opens what was converted."""

    def compile(
        self, model: object, *, columns: Sequence[str], types: Mapping[str, str], folder: Path
    ) -> tuple[Compiled, ...]:
        """Every conversion of the fitted model that this knows and that succeeds, the fastest first."""
        ...

    def open(self, kind: str, file: Path, *, columns: Sequence[str], types: Mapping[str, str]) -> Runtime:
        """A runtime over a compiled file, or (`sklearn`) over a saved model's folder."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """What is wanted of one feature view: some features of entities, by their join key values in the view's order."""

    view: str
    keys: Sequence[tuple[object, ...]]
    features: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineAnswer:
    """One entity's newest row in one feature view."""

    values: Mapping[str, object]
    at: float
    """The time of its event, in seconds since 1970."""


class OnlineView(Protocol):
    """A view as a store describes it: join keys and features with their types; how long a row holds, 0 for ever."""

    @property
    def keys(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def features(self) -> Mapping[str, str]: ...
    @property
    def ttl_seconds(self) -> float: ...


class OnlineStore(Protocol):
    """Feast's online store, read directly."""

    @property
    def views(self) -> Mapping[str, OnlineView]:
        """What it holds, by name."""
        ...

    async def read(self, lookups: Sequence[Lookup]) -> list[list[OnlineAnswer | None]]:
        """For each lookup the newest row of each of its entities; None for one that is not there."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class DriftReport:
    """Distances between a reference and a current sample, by column, and a page for people."""

    distances: Mapping[str, float]
    drifted: tuple[str, ...]
    method: Mapping[str, str]
    page: Path


class DriftReports(Protocol):
    """Compares two Parquet files column by column."""

    def compare(self, reference: Path, current: Path, *, columns: Sequence[str], folder: Path) -> DriftReport: ...


class Progress(Protocol):
    """Told how far a long piece of work is."""

    def begin(self, stage: str) -> None: ...

    def step(self, what: str) -> None:
        """A step of the current stage began."""
        ...

    def found(self) -> None:
        """The current stage's entry was in the ledger already; nothing is computed."""
        ...

    def end(self, stage: str, outcome: str) -> None: ...
