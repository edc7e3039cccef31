"""Score rows with the model beside this file: `python run.py rows.json`, a list of objects; probabilities on stdout."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]

HERE = Path(__file__).resolve().parent


def column(spec: dict[str, Any], values: list[Any], null: str) -> Any:
    """One input as a column; stops at a value that the model does not take."""
    text, known = spec["type"] == "text", spec["known"]
    for value in values:
        if value is None and spec["null"]:
            continue
        if isinstance(value, str) is not text or (known is not None and value not in known):
            sys.exit(f"{spec['name']}: the model does not take {value!r}.")
    if text:
        return np.array([null if value is None else value for value in values], dtype=object).reshape(-1, 1)
    numbers = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    if spec["limit"] is not None and (np.abs(numbers) > spec["limit"]).any():
        sys.exit(f"{spec['name']}: a number is beyond the model's range.")
    return numbers.reshape(-1, 1)


def answers(chances: Any, classes: list[Any] | None) -> list[Any]:
    """Each row's probability of class 1; of several classes the most probable one, and the probability of each."""
    if classes is None:
        found: list[Any] = chances[:, -1].tolist()
        return found
    names = [str(one) for one in classes]
    for number, row in enumerate(chances):
        if not np.isfinite(row).all():  # some class would be the first, and look like an answer
            sys.exit(f"Row {number}: the model gives no probabilities.")
    return [
        {"prediction": classes[int(row.argmax())], "probabilities": dict(zip(names, row.tolist(), strict=True))}
        for row in chances
    ]


def main() -> None:
    """Verify every file of the folder, then answer."""
    manifest = json.loads((HERE / "manifest.json").read_text())
    for name, digest in manifest["files"].items():
        if "sha256:" + hashlib.sha256((HERE / name).read_bytes()).hexdigest() != digest:
            sys.exit(f"{name} is not the file that was exported.")
    signature = json.loads((HERE / "signature.json").read_text())
    rows = json.loads(Path(sys.argv[1]).read_text())
    session = onnxruntime.InferenceSession(HERE / "model.onnx", providers=["CPUExecutionProvider"])
    feed = {
        spec["name"]: column(spec, [row[spec["name"]] for row in rows], signature["null"])
        for spec in signature["inputs"]
    }
    (chances,) = session.run([signature["output"]["name"]], feed)
    json.dump(answers(chances, signature["output"].get("classes")), sys.stdout)


if __name__ == "__main__":
    main()
