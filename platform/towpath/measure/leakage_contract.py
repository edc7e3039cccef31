"""A column that its contract says is known only after the prediction: refused whatever it says of the target."""

from __future__ import annotations

import pandas as pd

from towpath.core.evidence import Finding, Outcome, Severity
from towpath.measure.leakage_frame import Split, finding
from towpath.measure.verdicts import count

CODE = "leakage.known_later"


def known_later(split: Split) -> tuple[Finding, ...]:
    """One FAIL for each input whose contract's `knownAt` lies behind the prediction in some row, else one PASS.

    A row without a value needs no time; a value without its time is taken for known later. Where the split does not
    hold the column of times, a warning says that nothing was compared.
    """
    rows = len(split.both)
    found, compared = [], 0
    asked = pd.to_datetime(split.both[split.event_timestamp], utc=True)
    for name, clock in sorted(split.known_at.items()):
        if name not in split.inputs:
            continue
        if clock not in split.both.columns:
            found.append(
                finding(
                    CODE,
                    Outcome.INCONCLUSIVE,
                    f"By its contract, {name} is known from {clock}, which the training set does not hold, so nothing "
                    f"shows that it was known in time. Select {clock} in the spine.",
                    rows=rows,
                    subject=name,
                    severity=Severity.WARNING,
                )
            )
            continue
        compared += 1
        times = pd.to_datetime(split.both[clock], utc=True)
        late = split.both[name].notna() & ~(times <= asked)
        if late.any():
            found.append(
                finding(
                    CODE,
                    Outcome.FAIL,
                    f"By its contract, {name} is known from {clock}, which in {count(int(late.sum()))} of {rows:,} "
                    "lies behind the prediction or is missing: it will not be there when the model serves. Drop it "
                    "from the inputs.",
                    rows=rows,
                    subject=name,
                    measured=int(late.sum()),
                    bound="<= 0",
                    unit="rows",
                )
            )
    if any(item.severity is Severity.ERROR for item in found):
        return tuple(found)
    return (
        *found,
        finding(
            CODE,
            Outcome.PASS,
            f"{count(compared, 'input')} of {len(split.inputs)} has a time of its own in its contract, and it came "
            f"before the prediction in all {rows:,} rows."
            if compared
            else f"No contract says a time for one of {count(len(split.inputs), 'input')} that the request brings.",
            rows=rows,
            measured=0,
            bound="<= 0",
            unit="rows",
        ),
    )
