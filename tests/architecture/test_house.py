"""What the import linter cannot say: names, files and imports of the house, each rule with a case that breaks it."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from towpath.core.gates import GATES

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "platform/towpath"
SDKS = {
    "mlflow": {"adapters/mlflow_models.py"},
    "feast": {
        "adapters/feast_features.py",
        "adapters/feast_asof.py",
        "adapters/feast_loading.py",
        "adapters/feast_online.py",
        "adapters/feast_asof_sql.py",
        "adapters/feast_spark",
        "adapters/online_",
    },
    "pyspark": {"adapters/spark_", "adapters/great_expectations_spark", "adapters/feast_spark"},
    "sqlglot": {"adapters/great_expectations_spark_suite.py"},
    "great_expectations": {"adapters/great_expectations_"},
    "evidently": {"adapters/evidently_drift.py"},
    "prefect": set(),
    "boto3": {"adapters/s3_client.py"},
    "skops": {"adapters/mlflow_models.py"},
    "treelite": {"adapters/runtime_treelite.py"},
    "onnx": {"adapters/runtime_onnx.py"},
    "skl2onnx": {"adapters/runtime_onnx.py"},
    "onnxruntime": {"adapters/runtime_onnx_session.py", "stages/edge_run.py"},  # the latter is copied into bundles
    "hiredis": {"adapters/online_redis_connection.py"},
    "uvicorn": {"gateway/worker.py", "gateway/outbox.py", "console/__main__.py"},
    "prometheus_client": {"gateway/metrics.py", "console/metrics.py", "adapters/slo_prometheus.py"},
    "cryptography": {"adapters/keys_local.py", "adapters/keys_pkcs11_token.py", "adapters/keys_certificates.py"},
    "OpenSSL": {"adapters/keys_certificates.py"},
    "sigstore": {"adapters/keys_sigstore.py"},
    "PyKCS11": {"adapters/keys_pkcs11_token.py"},
    "model_signing": {"adapters/model_signing_"},
    "in_toto_attestation": {"adapters/statements_"},
    "modelscan": {"adapters/model_scan_"},
    "cyclonedx": {"adapters/bill_of_materials_"},
    "jwt": {"adapters/oidc_"},
    "openlineage": {"adapters/lineage_"},
    "apprise": {"adapters/alerts_"},
    "fastapi": {"console/"},
}


def imported(text: str) -> set[str]:
    """The top-level packages that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def strays(files: dict[str, str]) -> list[str]:
    """Imports of an SDK outside the adapters that are its home."""
    return [
        f"{name} imports {sdk}"
        for name, text in files.items()
        for sdk in imported(text) & set(SDKS)
        if not any(name.startswith(home.removesuffix(".py")) for home in SDKS[sdk])
    ]


def modules() -> dict[str, str]:
    return {file.relative_to(PACKAGE).as_posix(): file.read_text() for file in PACKAGE.rglob("*.py")}


def test_each_sdk_appears_in_its_own_adapter_alone() -> None:
    assert strays(modules()) == []
    assert strays({"stages/train.py": "def f():\n    from mlflow import log_metric\n"}) == [
        "stages/train.py imports mlflow"
    ]


def test_platform_is_a_source_root_and_never_a_package() -> None:
    assert not (ROOT / "platform/__init__.py").exists()
    import platform

    assert platform.__file__ == str(Path(platform.__file__)), platform
    assert "towpath" not in str(platform.__file__)


def shadowing(folder: Path) -> list[str]:
    """Python files of a folder that bear the name of a standard-library or installed module."""
    taken = set(sys.stdlib_module_names) | set(importlib.metadata.packages_distributions())
    return sorted(file.name for file in folder.rglob("*.py") if file.stem in taken)


@pytest.mark.parametrize("folder", ["flows", "feature_repo"])
def test_no_file_that_prefect_or_feast_loads_shadows_a_module(folder: str, tmp_path: Path) -> None:
    assert shadowing(ROOT / folder) == []
    (tmp_path / "calendar.py").touch()
    (tmp_path / "pandas.py").touch()
    assert shadowing(tmp_path) == ["calendar.py", "pandas.py"]


def test_flows_import_prefect_towpath_and_the_standard_library_only() -> None:
    allowed = (
        {"prefect", "towpath"} | set(sys.stdlib_module_names) | {file.stem for file in (ROOT / "flows").glob("*.py")}
    )
    for file in (ROOT / "flows").glob("*.py"):
        assert imported(file.read_text()) <= allowed, file.name


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_locks_hold_hashes_and_no_addresses(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert not re.search(r"https?://|file:", text)
    pinned = re.findall(r"^([a-z0-9][a-z0-9._-]*)==", text, flags=re.MULTILINE)
    assert len(pinned) > 150
    assert text.count("--hash=sha256:") >= len(pinned)
    for name in ("mlflow", "feast", "prefect", "great-expectations", "evidently", "scikit-learn", "boto3"):
        assert name in pinned


def test_every_gate_code_is_in_the_code_that_finds_it() -> None:
    text = "\n".join(text for name, text in modules().items() if name != "core/gates.py")
    text += (PACKAGE / "core/checks.py").read_text()
    missing = [code for code in GATES if f'"{code}"' not in text and not _composed(code, text)]
    assert missing == []
    assert _composed("eval.roc_auc", 'f"eval.{name}"')
    assert not _composed("eval.roc_auc", "eval")


def _composed(code: str, text: str) -> bool:
    return f'f"{code.split(".", maxsplit=1)[0]}.{{' in text


def findings(rule: str, text: str, tmp_path: Path) -> list[dict[str, object]]:
    file = tmp_path / "platform/towpath/thing.py"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ruff"),
            "check",
            "--config",
            ROOT / "pyproject.toml",
            "--output-format",
            "json",
            file,
        ],
        capture_output=True,
        text=True,
    )
    return [item for item in json.loads(done.stdout) if item["code"] == rule]


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("T201", "print('hello')\n"),
        ("B904", "try:\n    pass\nexcept ValueError:\n    raise KeyError\n"),
        ("DTZ005", "import datetime\n\ndatetime.datetime.now()\n"),
        ("BLE001", "try:\n    pass\nexcept Exception:\n    pass\n"),
        ("C901", "def f(x):\n" + "".join(f"    if x == {n}:\n        return {n}\n" for n in range(12))),
    ],
)
def test_the_style_rules_bite(rule: str, text: str, tmp_path: Path) -> None:
    assert findings(rule, text, tmp_path)


def test_the_type_checker_bites(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    file = tmp_path / "thing.py"
    file.write_text("def double(x: int) -> str:\n    return x * 2\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", "thing.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "return-value" in done.stdout


def sentences(files: Iterator[Path]) -> list[str]:
    pattern = re.compile(r"/(?:root|work)/|/tmp/\w", re.IGNORECASE)
    return [str(file) for file in files if pattern.search(file.read_text(errors="ignore"))]


def test_no_file_names_a_place_of_the_machine_it_was_made_on() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    texts = [
        ROOT / name for name in listed if (ROOT / name).is_file() and Path(name) != Path(__file__).relative_to(ROOT)
    ]
    assert sentences(iter(texts)) == []
