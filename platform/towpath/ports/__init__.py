"""What the path asks of the world, as Protocols of a few methods. Read this page first.

Everything large is passed by digest or by path, never as a dataframe; what a port returns is a value of the core or a
small frozen dataclass from here. Each module is what is asked of one kind of service.
"""

from towpath.ports.data import (
    CheckReport,
    DataChecks,
    DriftReport,
    DriftReports,
    Snapshot,
    Sources,
    TableChecked,
    TableProfiles,
)
from towpath.ports.features import FeatureStore, FeatureTables, FeatureView, Parity, Replay, Transforms, Window
from towpath.ports.identity import IdentityProvider, Token, TokenGrant, Tokens
from towpath.ports.keys import (
    Certified,
    CertifiedKey,
    Identified,
    Keys,
    PseudonymKeys,
    Purpose,
    Stamp,
    TokenKey,
    TrustedKey,
)
from towpath.ports.models import ModelRun, Models, RegisteredModel, TrainingRun
from towpath.ports.progress import Progress
from towpath.ports.record import Baseline, Draft, Evidence, Fault, Ledger, Objects, Rollouts, Verification
from towpath.ports.serving import Compiled, Lookup, OnlineAnswer, OnlineStore, OnlineView, Runtime, Runtimes

__all__ = [
    "Baseline",
    "Certified",
    "CertifiedKey",
    "CheckReport",
    "Compiled",
    "DataChecks",
    "Draft",
    "DriftReport",
    "DriftReports",
    "Evidence",
    "Fault",
    "FeatureStore",
    "FeatureTables",
    "FeatureView",
    "Identified",
    "IdentityProvider",
    "Keys",
    "Ledger",
    "Lookup",
    "ModelRun",
    "Models",
    "Objects",
    "OnlineAnswer",
    "OnlineStore",
    "OnlineView",
    "Parity",
    "Progress",
    "PseudonymKeys",
    "Purpose",
    "RegisteredModel",
    "Replay",
    "Rollouts",
    "Runtime",
    "Runtimes",
    "Snapshot",
    "Sources",
    "Stamp",
    "TableChecked",
    "TableProfiles",
    "Token",
    "TokenGrant",
    "TokenKey",
    "Tokens",
    "TrainingRun",
    "Transforms",
    "TrustedKey",
    "Verification",
    "Window",
]
