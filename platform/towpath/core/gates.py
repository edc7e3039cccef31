"""Every gate by its code: what it asks, at which stage, and what to do when it refuses."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from towpath.core.errors import DeclarationError
from towpath.core.task import Task


class Stage(StrEnum):
    """The stages of the path, in order, and `monitor`, which watches what was promoted."""

    INGEST = "ingest"
    VALIDATE = "validate"
    FEATURIZE = "featurize"
    TRAIN = "train"
    EVALUATE = "evaluate"
    REGISTER = "register"
    CANARY = "canary"
    PROMOTE = "promote"
    MONITOR = "monitor"


NEVER_WAIVED = (
    *("integrity.", "serve.", "reconcile.", "register.format", "register.scan", "register.signature"),
    *("register.model", "register.parity"),
)
"""How codes begin of which no finding is ever waived, nor passed over in an emergency: whose bytes, what they do."""


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One question that a stage asks. `required`: no candidate is promoted unless it was asked."""

    code: str
    stage: Stage
    asks: str
    mend: str
    required: bool = False
    tasks: frozenset[Task] = frozenset(Task)
    """The kinds of model of which it is asked."""

    @property
    def waivable(self) -> bool:
        """Whether a person may answer for a finding of it."""
        return not self.code.startswith(NEVER_WAIVED)


_CLASSES: Final = frozenset({Task.BINARY, Task.MULTICLASS})
_REGRESSION: Final = frozenset({Task.REGRESSION})


def _gates(*gates: Gate) -> dict[str, Gate]:
    return {gate.code: gate for gate in gates}


GATES: dict[str, Gate] = _gates(
    Gate(
        code="ingest.rows",
        stage=Stage.INGEST,
        asks="Has every declared source at least one row known at the as-of time?",
        mend="Point the source at data that exists, or move `--as-of` to a time at which it did.",
        required=True,
    ),
    Gate(
        code="data.schema",
        stage=Stage.VALIDATE,
        asks="Are the columns of the contract there, with its types, and no others?",
        mend="Have the producer restore the column, or change the contract (a new version) and what stands on it.",
        required=True,
    ),
    Gate(
        code="data.null",
        stage=Stage.VALIDATE,
        asks="Is a required column filled, and an optional one within its share of nulls?",
        mend="Look at the quarantined rows (`towpath show CANDIDATE --quarantine TABLE`) and mend them at the source.",
    ),
    Gate(
        code="data.range",
        stage=Stage.VALIDATE,
        asks="Do numbers, times and lengths lie within the contract's limits?",
        mend="Look at the quarantined rows and mend them at the source, or correct a limit that is wrong.",
    ),
    Gate(
        code="data.enumeration",
        stage=Stage.VALIDATE,
        asks="Has a column only the values that the contract lists?",
        mend="Mend the value at the source, or add it to the contract when it is meant.",
    ),
    Gate(
        code="data.pattern",
        stage=Stage.VALIDATE,
        asks="Does text match the contract's pattern?",
        mend="Look at the quarantined rows and mend them at the source.",
    ),
    Gate(
        code="data.unique",
        stage=Stage.VALIDATE,
        asks="Does a key name one row only?",
        mend="Find out which copy is right; a table delivered twice is the usual cause.",
    ),
    Gate(
        code="data.foreign_key",
        stage=Stage.VALIDATE,
        asks="Does a reference to another table find its row, within the tolerance of the contract?",
        mend="Deliver the referenced table first, or mend the reference.",
    ),
    Gate(
        code="data.freshness",
        stage=Stage.VALIDATE,
        asks="Is the newest row, seen from the as-of time, young enough?",
        mend="Find out why the feed stopped. A model trained on stale data is not trained on today's world.",
    ),
    Gate(
        code="data.volume",
        stage=Stage.VALIDATE,
        asks="Does the table have as many rows as the contract promises?",
        mend="Find out which part of the delivery is missing or doubled.",
    ),
    Gate(
        code="data.rule",
        stage=Stage.VALIDATE,
        asks="Does a rule written in the contract (SQL or a metric) hold?",
        mend="Read the rule's description in the contract; look at the quarantined rows.",
    ),
    Gate(
        code="data.deprecated",
        stage=Stage.VALIDATE,
        asks="Is no column that the model reads past the date of its removal by contract (until then: a warning)?",
        mend="Leave the named column out of what reads it, or agree with its owner on a later `removalDate`.",
    ),
    Gate(
        code="data.contract_change",
        stage=Stage.VALIDATE,
        asks="Does no contract break, without a deprecation window or a version for it, what the champion was made by?",
        mend="Raise the contract's version, restore what it promised, or deprecate the column until a `removalDate`: "
        "`towpath contract diff --champion`.",
        required=True,
    ),
    Gate(
        code="features.rows",
        stage=Stage.FEATURIZE,
        asks="Has the training set and the holdout enough rows, and does every declared feature come out?",
        mend="Widen `training.span`, move `--as-of`, or mend the transform whose column is missing.",
        required=True,
    ),
    Gate(
        code="features.known_later",
        stage=Stage.FEATURIZE,
        asks="Rebuilt from only what was known at sampled times, is every feature value the same?",
        mend="The named transform uses rows before they were known. Stamp it with the time its inputs became known.",
        required=True,
    ),
    Gate(
        code="features.offline_online",
        stage=Stage.FEATURIZE,
        asks="Does the online store answer what the offline store says, on sampled entities?",
        mend="Materialize again (`towpath run`); if it stays, the view's keys or types differ between the stores.",
        required=True,
    ),
    Gate(
        code="train.target",
        stage=Stage.TRAIN,
        asks="Is the target what its task needs (0 and 1, classes or numbers), and none missing?",
        mend="Check the label in the spine and the training window.",
        required=True,
    ),
    Gate(
        code="train.model",
        stage=Stage.TRAIN,
        asks="Does the model, saved and loaded again without pickle, predict the same?",
        mend="Use estimators that skops can load, and review any type it names before trusting it.",
        required=True,
    ),
    Gate(
        code="eval.roc_auc",
        stage=Stage.EVALUATE,
        asks="Does the model rank well enough on the holdout (lower end of the interval)?",
        mend="Better features or more data; lower the bound in the charter only with a reason.",
        required=True,
        tasks=_CLASSES,
    ),
    Gate(
        code="eval.log_loss",
        stage=Stage.EVALUATE,
        asks="Are the probabilities good enough (upper end of the log-loss interval)?",
        mend="Look at calibration first; then features.",
        required=True,
        tasks=_CLASSES,
    ),
    Gate(
        code="eval.calibration",
        stage=Stage.EVALUATE,
        asks="Does a predicted 30 % happen 30 % of the time (expected calibration error)?",
        mend="Look at the calibration plot; recalibrate or shorten the training window.",
        required=True,
        tasks=_CLASSES,
    ),
    Gate(
        code="eval.rmse",
        stage=Stage.EVALUATE,
        asks="Is a regression's root mean squared error small enough (upper end of the interval)?",
        mend="A few rows with large errors weigh most: look at the residuals plot; then features.",
        required=True,
        tasks=_REGRESSION,
    ),
    Gate(
        code="eval.mae",
        stage=Stage.EVALUATE,
        asks="Is a regression's mean absolute error small enough (upper end of the interval)?",
        mend="Better features or more data; raise the bound in the charter only with a reason.",
        required=True,
        tasks=_REGRESSION,
    ),
    Gate(
        code="eval.r2",
        stage=Stage.EVALUATE,
        asks="Does a regression explain enough of the target's variance (lower end of the interval)?",
        mend="Look at the predicted and observed plot; a target that moved since training lowers it too.",
        required=True,
        tasks=_REGRESSION,
    ),
    Gate(
        code="eval.baseline",
        stage=Stage.EVALUATE,
        asks="Is the model better than always predicting the base rate, class frequencies or mean, beyond chance?",
        mend="A model that does not beat that adds risk and no value.",
        required=True,
    ),
    Gate(
        code="eval.champion",
        stage=Stage.EVALUATE,
        asks="Is it no worse than the champion on the same holdout, within the declared margin?",
        mend="Keep the champion. Compare the two models' slices to see where the candidate lost.",
        required=True,
    ),
    Gate(
        code="eval.slice",
        stage=Stage.EVALUATE,
        asks="Is every slice that is large enough served well enough?",
        mend="Look at the slice plot; more data or a feature for the slice that fails.",
        required=True,
    ),
    Gate(
        code="eval.latency",
        stage=Stage.EVALUATE,
        asks="Does one row get its prediction within the budget?",
        mend="A smaller model, or a larger budget in the charter with a reason.",
        required=True,
    ),
    Gate(
        code="leakage.target_proxy",
        stage=Stage.EVALUATE,
        asks="Does any single feature predict the target too well to be honest?",
        mend="Drop the named feature, or show by its contract when it is known.",
        required=True,
    ),
    Gate(
        code="leakage.future_feature",
        stage=Stage.EVALUATE,
        asks="Was every joined feature row stamped and known before its prediction time?",
        mend="Keep the as-known filter of the offline store on; mend the named view's timestamps.",
        required=True,
    ),
    Gate(
        code="leakage.overlap",
        stage=Stage.EVALUATE,
        asks="Do training rows and labels end before the holdout begins, with no row in both?",
        mend="Split by time, on the time the label became known.",
        required=True,
    ),
    Gate(
        code="leakage.known_later",
        stage=Stage.EVALUATE,
        asks="Was every input that the request brings known before the prediction, by its contract?",
        mend="Drop the named column from `features.request`; where a warning says so, select its time in the spine.",
    ),
    Gate(
        code="leakage.aggregate",
        stage=Stage.EVALUATE,
        asks="Is no input a mean or sum that later rows or the row's own label were needed for?",
        mend="Aggregate rows known before each prediction only, in a transform that the replay proves.",
    ),
    Gate(
        code="leakage.encoding",
        stage=Stage.EVALUATE,
        asks="Does no input hold the labels of its own rows, as target encoding without folds does?",
        mend="Encode inside the model's pipeline with cross-fitting, or from earlier rows only.",
    ),
    Gate(
        code="leakage.fitted",
        stage=Stage.EVALUATE,
        asks="Was no input scaled, ranked or filled in by figures of the holdout?",
        mend="Do it inside the model's pipeline, where it is fitted on training rows.",
    ),
    Gate(
        code="leakage.index",
        stage=Stage.EVALUATE,
        asks="Does no row number among the inputs go with the target?",
        mend="Drop the named column; the order of a file is no property of what is predicted.",
    ),
    Gate(
        code="leakage.group",
        stage=Stage.EVALUATE,
        asks="Does no entity that is on both sides of the split fix the label?",
        mend="Keep all rows of the named entity on one side, or predict once for each.",
    ),
    Gate(
        code="leakage.duplicate",
        stage=Stage.EVALUATE,
        asks="Have holdout rows no more copies and near copies in training than training rows have among themselves?",
        mend="Find out where rows are doubled, in the source or in a join, and remove them before the split.",
    ),
    Gate(
        code="leakage.skew",
        stage=Stage.EVALUATE,
        asks="Do the model's inputs when serving equal those in training, on sampled rows?",
        mend="The named feature differs between the training set and the online path; serve it from the same view.",
        required=True,
    ),
    Gate(
        code="register.format",
        stage=Stage.REGISTER,
        asks="Is every file of the model of a format that runs no code when it is read?",
        mend="Save the model with skops or as ONNX. Pickle in any form, links, archives that lead out of the folder "
        "and unknown files are refused.",
        required=True,
    ),
    Gate(
        code="register.scan",
        stage=Stage.REGISTER,
        asks="Does the scanner find no code in the model's files?",
        mend="Do not load it. Find out where the file comes from; `towpath model check FOLDER` shows every finding.",
        required=True,
    ),
    Gate(
        code="register.signature",
        stage=Stage.REGISTER,
        asks="Are the model's files signed, and does the signature verify with a trusted key?",
        mend="Give the process a model key (TOWPATH_KEYS, `towpath key list`) and run the path again.",
        required=True,
    ),
    Gate(
        code="register.model",
        stage=Stage.REGISTER,
        asks="Are the registered bytes the evaluated bytes?",
        mend="Someone or something changed the stored model. Run the path again and find out who.",
        required=True,
    ),
    Gate(
        code="register.parity",
        stage=Stage.REGISTER,
        asks="Does what will serve answer as the evaluated model does, on the holdout and on unusual rows?",
        mend="Read which row differs. A warning names a conversion left out; scikit-learn serves if none is left.",
        required=True,
    ),
    Gate(
        code="rollout.harm",
        stage=Stage.CANARY,
        asks="Is there no evidence that the challenger harms the units it serves, in any guardrail?",
        mend="`towpath rollout explain` names the guardrail. Mend the candidate and run the path again.",
    ),
    Gate(
        code="rollout.hard_limit",
        stage=Stage.CANARY,
        asks="Does the challenger stay within the charter's hard limits?",
        mend="`towpath rollout explain` names the metric. Mend the candidate and run the path again.",
    ),
    Gate(
        code="register.cheaper",
        stage=Stage.REGISTER,
        asks="Is the cheaper model, for when time is short, good enough (upper end of its loss)?",
        mend="It is left out until it is. Declare other parameters in serving.cheaper, or none.",
    ),
    Gate(
        code="monitor.drift",
        stage=Stage.MONITOR,
        asks="Are the features distributed as in training, for all but the declared share of columns?",
        mend="Read the drift report; retrain on newer data (`towpath run --as-of`) if the world moved.",
    ),
    Gate(
        code="monitor.prediction_drift",
        stage=Stage.MONITOR,
        asks="Are the champion's predictions distributed as on its holdout?",
        mend="Read the drift report; look first at the columns that moved most.",
    ),
    Gate(
        code="monitor.performance",
        stage=Stage.MONITOR,
        asks="With labels now known, does the champion still meet the charter's bounds?",
        mend="Retrain, or roll back to an earlier champion.",
    ),
    Gate(
        code="monitor.quality",
        stage=Stage.MONITOR,
        asks="Does the watched window's data still hold its contracts?",
        mend="Read the check page of the watched window; mend the data at the source.",
    ),
    Gate(
        code="monitor.slo",
        stage=Stage.MONITOR,
        asks="Is error budget left of each freshness and latency promise, and does it not burn too fast?",
        mend="`towpath slo PROJECT` says which promise, and how fast. Have its owner mend the feed before it is spent.",
    ),
    Gate(
        code="promote.approvals",
        stage=Stage.PROMOTE,
        asks="Did as many persons agree to this very digest as its charter's risk asks for, none of them a submitter?",
        mend="`towpath show CANDIDATE` says who is missing and why an approval does not count: `towpath approve`.",
    ),
    Gate(
        code="serve.approved",
        stage=Stage.PROMOTE,
        asks="May the candidate that a rollout names serve, by the ledger alone?",
        mend="`towpath show CANDIDATE` says what it lacks. Find out who wrote the rollout's row by hand.",
    ),
    Gate(
        code="reconcile.name",
        stage=Stage.PROMOTE,
        asks="Has the registered model the name that it was registered under?",
        mend="Find out who can write the registry; callers were answered by the ledger all the while.",
    ),
    Gate(
        code="reconcile.version",
        stage=Stage.PROMOTE,
        asks="Is the champion's version in the registry, made from the run that was recorded?",
        mend="Find out who can write the registry; callers were answered by the ledger all the while.",
    ),
    Gate(
        code="reconcile.alias",
        stage=Stage.PROMOTE,
        asks="Do the registry's aliases show the champion and the last candidate?",
        mend="Find out who can write the registry; callers were answered by the ledger all the while.",
    ),
    Gate(
        code="reconcile.tags",
        stage=Stage.PROMOTE,
        asks="Do a version's tags say what the ledger says?",
        mend="Find out who can write the registry; callers were answered by the ledger all the while.",
    ),
    Gate(
        code="reconcile.stage",
        stage=Stage.PROMOTE,
        asks="Is no version in one of MLflow's deprecated stages?",
        mend="Find out who can write the registry; callers were answered by the ledger all the while.",
    ),
    Gate(
        code="reconcile.stored",
        stage=Stage.PROMOTE,
        asks="Are the stored champion's bytes those that were recorded?",
        mend="Restore it from a backup. Callers are answered from the compiled model in the object store.",
    ),
    Gate(
        code="reconcile.features",
        stage=Stage.PROMOTE,
        asks="Does the feature store's registry hold what the champion was made with?",
        mend="Apply the repository again; find out who can write the feature store's registry.",
    ),
    Gate(
        code="reconcile.gateway",
        stage=Stage.PROMOTE,
        asks="Has a gateway loaded what may serve, and nothing else?",
        mend="Find out which ledger and which object store it was started with, and start it anew.",
    ),
    Gate(
        code="reconcile.deployment",
        stage=Stage.PROMOTE,
        asks="Are Prefect's deployments as their file declares them?",
        mend="Deploy the file again, or commit what was meant.",
    ),
    Gate(
        code="reconcile.done",
        stage=Stage.PROMOTE,
        asks="Was what somebody moved by hand put back?",
        mend="See the incident's first finding; only told is what cannot be put back, or what the charter says.",
    ),
    Gate(
        code="integrity.data",
        stage=Stage.VALIDATE,
        asks="Are the stored data's bytes the bytes that were recorded?",
        mend="Run the path again: ingest snapshots the source anew. Find out who can write the object store.",
    ),
    Gate(
        code="integrity.model",
        stage=Stage.REGISTER,
        asks="Are the stored model's bytes the bytes that were recorded?",
        mend="Do not serve it. Run the path again, and find out who can write the artifact store.",
    ),
    Gate(
        code="integrity.attestation",
        stage=Stage.REGISTER,
        asks="Does a trusted, unrevoked key state that these are the candidate's digests?",
        mend="Find out who wrote or signed it. After a revocation: `towpath model attest CANDIDATE`.",
    ),
    Gate(
        code="integrity.keys",
        stage=Stage.REGISTER,
        asks="Is every trusted key the one that its name says?",
        mend="Restore the folder of trusted keys from its backup, and find out who can write it.",
    ),
    Gate(
        code="integrity.ledger",
        stage=Stage.PROMOTE,
        asks="Is every record of the ledger the one that was written, in its place?",
        mend="Restore the ledger from its backup; `towpath ledger verify` names the first bad record.",
    ),
)


def gate(code: str) -> Gate:
    """The gate of that code."""
    try:
        return GATES[code]
    except KeyError as error:
        raise DeclarationError(f"There is no gate {code!r}.", value=code, valid=GATES) from error
