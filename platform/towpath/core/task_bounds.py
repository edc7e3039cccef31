"""The bounds that the charter sets for each task but the binary one, whose are `charter.Gates`.

Measures of a multiclass model are macro-averaged one-vs-rest ROC AUC, log loss and top-label calibration; those of a
regression are errors in the target's own unit, and shares of another model's error, which have none.
"""

from __future__ import annotations

from pydantic import Field

from towpath.core.declaration import Declaration, Share


class MulticlassSlice(Declaration):
    """A column whose values must each be served well: groups below `min_rows` holdout rows are not judged."""

    by: str
    """A column of the holdout."""
    min_rows: int = Field(default=500, ge=20)
    """Rows below which a group is not judged."""
    log_loss: float = Field(gt=0)
    """The greatest log loss of every judged group, in nats; a group may lack a class, so none is ranked."""


class MulticlassChampion(Declaration):
    """How much worse than the champion a multiclass candidate may be, at the interval's unfavourable end."""

    roc_auc_margin: float = Field(default=0.01, ge=0)
    """How much lower the macro-averaged one-vs-rest ROC AUC may be."""
    log_loss_margin: float = Field(default=0.01, ge=0)
    """How much higher the log loss may be, in nats."""


class MulticlassGates(Declaration):
    """Bounds of a multiclass model's evaluation. Each has its gate; none can be left out, only set."""

    roc_auc: Share
    """The least ROC AUC, one class against the rest, averaged over the classes."""
    log_loss: float = Field(gt=0)
    """The greatest log loss, in nats."""
    calibration: Share = 0.05
    """The greatest expected calibration error of the most probable class (top label)."""
    baseline_log_loss_gain: float = Field(default=0.0, ge=0)
    """The least gain in log loss over always predicting the training's class frequencies, in nats."""
    champion: MulticlassChampion = MulticlassChampion()
    """Margins against the champion."""
    slices: tuple[MulticlassSlice, ...] = Field(min_length=1)
    """Columns whose groups are judged one by one."""
    latency_ms: float = Field(default=100.0, gt=0)
    """The most that 95 of 100 single-row predictions may take, in milliseconds."""
    single_feature_roc_auc: float = Field(default=0.995, gt=0.5, le=1)
    """The ROC AUC, averaged over the classes, of one input alone that is too good to be honest."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Confidence of every interval."""


class RegressionSlice(Declaration):
    """A column whose values must each be served well: groups below `min_rows` holdout rows are not judged."""

    by: str
    """A column of the holdout."""
    min_rows: int = Field(default=500, ge=20)
    """Rows below which a group is not judged."""
    mae: float = Field(gt=0)
    """The greatest mean absolute error of every judged group, in the target's unit."""


class RegressionChampion(Declaration):
    """How much worse than the champion a regression may be, at the interval's unfavourable end."""

    rmse_margin: float = Field(default=0.01, ge=0)
    """How much higher the root mean squared error may be, as a share of the champion's."""
    mae_margin: float = Field(default=0.01, ge=0)
    """How much higher the mean absolute error may be, as a share of the champion's."""


class RegressionGates(Declaration):
    """Bounds of a regression's evaluation. Each has its gate; none can be left out, only set."""

    rmse: float = Field(gt=0)
    """The greatest root mean squared error, in the target's unit."""
    mae: float = Field(gt=0)
    """The greatest mean absolute error, in the target's unit."""
    r2: float = Field(default=0.0, ge=-1, le=1)
    """The least coefficient of determination (R²)."""
    baseline_rmse_gain: Share = 0.0
    """The least gain over always predicting the training's mean, as a share of that prediction's RMSE."""
    champion: RegressionChampion = RegressionChampion()
    """Margins against the champion."""
    slices: tuple[RegressionSlice, ...] = Field(min_length=1)
    """Columns whose groups are judged one by one."""
    latency_ms: float = Field(default=100.0, gt=0)
    """The most that 95 of 100 single-row predictions may take, in milliseconds."""
    single_feature_r2: float = Field(default=0.97, gt=0, le=1)
    """The share of the target's variance that one input alone explains and that is too good to be honest."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Confidence of every interval."""
