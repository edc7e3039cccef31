"""MLServer for the benchmark, in an environment of its own, which is made once and kept in `.tools`.

It gets the versions of MLflow and of the model's libraries that the project has, so that it serves the same model, and
is asked at the same endpoint. Inference in the server's own process: its pool of workers needs an older uvloop.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[2] / ".tools"
PACKAGES = ("mlserver", "mlserver-mlflow")
SAME = ("mlflow", "scikit-learn", "skops", "numpy", "pandas")
_INSTALL_SECONDS = 900


class NotInstalled(RuntimeError):
    """MLServer cannot be installed beside this Python; the message is what the installer said."""


def command(saved: Path, folder: Path, *, ports: tuple[int, int, int]) -> list[str]:
    """The command that serves the saved model on the first port. Raises `NotInstalled`."""
    program = _installed() / "bin" / "mlserver"
    folder.mkdir(parents=True)
    http, grpc, metrics = ports
    settings = {"host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics}
    (folder / "settings.json").write_text(json.dumps({**settings, "parallel_workers": 0}), encoding="utf-8")
    model = {"name": "flights", "implementation": "mlserver_mlflow.MLflowRuntime", "parameters": {"uri": str(saved)}}
    (folder / "model-settings.json").write_text(json.dumps(model), encoding="utf-8")
    return [str(program), "start", str(folder)]


def version() -> str:
    """The version that was installed, for the table."""
    python = TOOLS / "mlserver" / "bin" / "python"
    asked = "from importlib.metadata import version; print(version('mlserver'))"
    return subprocess.run([str(python), "-c", asked], check=True, capture_output=True, text=True).stdout.strip()


def _installed() -> Path:
    """The environment; made anew when the project's own versions have changed."""
    home = TOOLS / "mlserver"
    wanted = [*PACKAGES, *(f"{name}=={metadata.version(name)}" for name in SAME)]
    made = home / "made.json"
    if made.is_file() and json.loads(made.read_text(encoding="utf-8")) == [sys.version, *wanted]:
        return home
    uv = shutil.which("uv", path=f"{TOOLS / 'uv' / 'bin'}{os.pathsep}{os.environ['PATH']}")
    if uv is None:
        raise NotInstalled("there is no uv to install it with")
    shutil.rmtree(home, ignore_errors=True)
    for step in (
        [uv, "venv", "--quiet", "--python", sys.executable, str(home)],
        [uv, "pip", "install", "--quiet", "--python", str(home), *wanted],
    ):
        try:
            done = subprocess.run(step, check=False, capture_output=True, text=True, timeout=_INSTALL_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise NotInstalled(f"the installer did not end within {_INSTALL_SECONDS} s") from error
        if done.returncode:
            raise NotInstalled(done.stderr.strip())
    made.write_text(json.dumps([sys.version, *wanted]), encoding="utf-8")
    return home
