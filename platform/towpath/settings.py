"""Settings: the environment's `TOWPATH_*` variables as one frozen value. Unknown ones are refused."""

from __future__ import annotations

import difflib
import getpass
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from towpath.core import names
from towpath.core.errors import DeclarationError, Problems
from towpath.core.pkcs11 import KeyUri, parsed

_PREFIX = "TOWPATH_"
_FOREIGN = {names.ENV_FEATURES, names.ENV_FEAST_STATE}  # set by us for the feature repository, not by people


@dataclass(frozen=True, kw_only=True)
class Variable:
    """One setting: its variable, what it is, and its default in words."""

    name: str
    about: str
    default: str


VARIABLES: tuple[Variable, ...] = (
    Variable(name="TOWPATH_STATE", about="Folder of everything embedded", default=".towpath in the working directory"),
    Variable(
        name="TOWPATH_LEDGER",
        about="SQLAlchemy address of the ledger: sqlite:///… or postgresql://…",
        default="ledger.db in the state folder",
    ),
    Variable(
        name="TOWPATH_OBJECTS",
        about="Where datasets and reports go: a folder or s3://bucket/prefix",
        default="objects in the state folder",
    ),
    Variable(
        name="TOWPATH_CHECKS",
        about="Where data checks count: duckdb, spark (both over the files), or postgresql://… with the same tables",
        default="duckdb",
    ),
    Variable(
        name="TOWPATH_SPARK",
        about="Spark's master for data checks: local[*], local[4], spark://host:7077, yarn, k8s://…",
        default="local[*]: in this process",
    ),
    Variable(
        name="TOWPATH_PREDICTIONS",
        about="Where the log of predictions and labels goes, as Parquet: a folder or s3://bucket/prefix",
        default="predictions in the state folder",
    ),
    Variable(
        name="TOWPATH_MLFLOW",
        about="MLflow tracking address: http(s)://… or sqlite:///…",
        default="mlflow.db in the state folder",
    ),
    Variable(
        name="TOWPATH_ARTIFACTS",
        about="Where models of new MLflow experiments go: a folder or s3://bucket/prefix",
        default="artifacts in the state folder; a server decides itself",
    ),
    Variable(name="TOWPATH_S3_ENDPOINT", about="Address of an S3 service that is not AWS", default="AWS"),
    Variable(name="TOWPATH_S3_REGION", about="Region of the S3 service", default="the credential chain's"),
    Variable(
        name="TOWPATH_ACTOR",
        about="Who acts, as the ledger will say, where no token was ever made",
        default="the login name",
    ),
    Variable(
        name="TOWPATH_KEYS",
        about="Folder of the keys that sign records and models, and of those that are trusted",
        default="keys in the state folder, made at the first use",
    ),
    Variable(
        name="TOWPATH_MODEL_KEY",
        about="The key that signs models, where it is on a PKCS #11 token: "
        "pkcs11:token=…;object=…?module-path=…, with pin-source=file:… for the PIN's file",
        default="model.key in the folder of the keys",
    ),
    Variable(name="TOWPATH_MODEL_PIN", about="The PIN of that token; never shown", default="the URI's pin-source"),
    Variable(name="TOWPATH_TOKEN", about="The token that proves who acts", default="none: the name is only claimed"),
    Variable(
        name="TOWPATH_SERVER", about="Address of a Towpath API that commands are sent to", default="none: embedded"
    ),
    Variable(name="TOWPATH_OIDC_ISSUER", about="The OpenID provider whose tokens are accepted", default="none"),
    Variable(name="TOWPATH_OIDC_AUDIENCE", about="The audience that such a token must be for", default="towpath"),
    Variable(
        name="TOWPATH_OIDC_PERSON",
        about="The claim that names the person, the same for all of their accounts",
        default="sub",
    ),
    Variable(
        name="TOWPATH_OIDC_GRANTS",
        about="YAML or JSON file that maps the provider's groups to roles by project",
        default="none: no group has a role",
    ),
    Variable(
        name="TOWPATH_ALERTS",
        about="Where alerts go: Apprise addresses, separated by spaces",
        default="none: the log and the ledger only",
    ),
    Variable(
        name="TOWPATH_GATEWAYS",
        about="Gateways whose loaded models `towpath reconcile` looks at: http addresses, separated by spaces",
        default="none: no gateway is looked at",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where everything is. Addresses may hold a password and are not shown."""

    state: Path
    ledger: str = field(repr=False)
    objects: str
    predictions: str
    mlflow: str = field(repr=False)
    artifacts: str | None
    s3_endpoint: str | None
    s3_region: str | None
    actor: str
    keys: Path
    model_key: KeyUri | None = None
    model_pin: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    server: str | None = None
    oidc_issuer: str | None = None
    oidc_audience: str = "towpath"
    oidc_person: str = "sub"
    oidc_grants: Path | None = None
    alerts: tuple[str, ...] = field(default=(), repr=False)
    gateways: tuple[str, ...] = ()
    checks: str = field(default="duckdb", repr=False)
    spark: str = "local[*]"

    @classmethod
    def read(cls, environment: Mapping[str, str], *, folder: Path) -> Settings:
        """Settings from an environment; relative paths lie under `folder`. Raises `Problems` for unknown variables."""
        known = [variable.name for variable in VARIABLES]
        problems = [
            DeclarationError(
                f"There is no setting {name}.", value=name, valid=difflib.get_close_matches(name, known, n=1) or known
            )
            for name in sorted(environment)
            if name.startswith(_PREFIX) and name not in known and name not in _FOREIGN
        ]
        if problems:
            raise Problems(problems)
        given = {name: value for name in known if (value := environment.get(name, "").strip())}
        state = (folder / given.get("TOWPATH_STATE", names.STATE_FOLDER)).absolute()
        mlflow = given.get("TOWPATH_MLFLOW", f"sqlite:///{state / 'mlflow.db'}")
        embedded = mlflow.startswith("sqlite:")
        return cls(
            state=state,
            ledger=given.get("TOWPATH_LEDGER", f"sqlite:///{state / 'ledger.db'}"),
            objects=given.get("TOWPATH_OBJECTS", str(state / "objects")),
            predictions=given.get("TOWPATH_PREDICTIONS", str(state / "predictions")),
            mlflow=mlflow,
            artifacts=given.get("TOWPATH_ARTIFACTS", str(state / "artifacts") if embedded else None),
            s3_endpoint=given.get("TOWPATH_S3_ENDPOINT"),
            s3_region=given.get("TOWPATH_S3_REGION"),
            actor=given.get("TOWPATH_ACTOR", getpass.getuser()),
            keys=(folder / given["TOWPATH_KEYS"]).absolute() if "TOWPATH_KEYS" in given else state / "keys",
            model_key=parsed(given["TOWPATH_MODEL_KEY"], setting="TOWPATH_MODEL_KEY")
            if "TOWPATH_MODEL_KEY" in given
            else None,
            model_pin=given.get("TOWPATH_MODEL_PIN"),
            token=given.get("TOWPATH_TOKEN"),
            server=given.get("TOWPATH_SERVER"),
            oidc_issuer=given.get("TOWPATH_OIDC_ISSUER"),
            oidc_audience=given.get("TOWPATH_OIDC_AUDIENCE", "towpath"),
            oidc_person=given.get("TOWPATH_OIDC_PERSON", "sub"),
            oidc_grants=(folder / given["TOWPATH_OIDC_GRANTS"]).absolute() if "TOWPATH_OIDC_GRANTS" in given else None,
            alerts=tuple(given.get("TOWPATH_ALERTS", "").split()),
            gateways=tuple(given.get("TOWPATH_GATEWAYS", "").split()),
            checks=given.get("TOWPATH_CHECKS", "duckdb"),
            spark=given.get("TOWPATH_SPARK", "local[*]"),
        )
