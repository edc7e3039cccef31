"""A session of ONNX Runtime on one thread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from towpath.adapters.runtime_file import damaged


def session(graph: bytes, file: Path) -> Any:
    """A session on a model's bytes, which came from `file`. Raises `IntegrityError` for what is no model."""
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(graph, sess_options=options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise damaged(file, error) from error
