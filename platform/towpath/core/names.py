"""Every name of ours that others see: tags, aliases, file names."""

from __future__ import annotations

from typing import Final

CHARTER_FILE: Final = "charter.yaml"
STATE_FOLDER: Final = ".towpath"

# MLflow registry
ALIAS_CANDIDATE: Final = "candidate"
ALIAS_CHAMPION: Final = "champion"
TAG_PROJECT: Final = "towpath.project"
TAG_CANDIDATE: Final = "towpath.candidate"
TAG_KEY: Final = "towpath.key"
TAG_MODEL: Final = "towpath.model_digest"
TAG_DATA: Final = "towpath.dataset_digest"
TAG_CODE: Final = "towpath.code_digest"
TAG_COMMIT: Final = "towpath.commit"
TAG_ENVIRONMENT: Final = "towpath.environment_digest"
TAG_DECISION: Final = "towpath.decision"
TAG_OUTCOME: Final = "towpath.outcome"
EVIDENCE_FOLDER: Final = "evidence"
BILL: Final = "bom.cdx.json"
"""The model's bill of materials: CycloneDX's own suffix."""

# The feature repository's environment, read by its definitions and its feature_store.yaml
ENV_FEATURES: Final = "TOWPATH_FEATURES"
ENV_FEAST_STATE: Final = "TOWPATH_FEAST_STATE"

# Columns that the spine and the training set carry beside features
EVENT_TIME: Final = "event_timestamp"
LABEL_TIME: Final = "label_timestamp"
EVENT_SUFFIX: Final = "__event_timestamp"
CREATED_SUFFIX: Final = "__created_timestamp"
