"""Towpath: one governed path from raw data to a promoted model.

ingest      snapshot the declared sources as they were at a time
validate    check them against their contracts, quarantine what fails
featurize   build features and the training set as known at the time
train       fit the project's model, tracked and reproducible
evaluate    judge it on a later holdout: gates, slices, leakage, champion
register    put it into the registry with its evidence and model card
promote     a named person makes it champion, if every gate allows it
monitor     watch drift, quality and performance on later data
ledger      every entry, decision and incident, append-only and chained
"""

import os

# Idle OpenMP threads spin by default: beside other work, a fit of seconds takes minutes. Read when OpenMP is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
