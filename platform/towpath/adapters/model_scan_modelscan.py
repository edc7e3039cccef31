"""modelscan, made to look at content: by itself it goes by the extension, and passes over what it does not know."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from modelscan.error import NestedZipError  # type: ignore[import-untyped]
from modelscan.middlewares.middleware import MiddlewareBase  # type: ignore[import-untyped]
from modelscan.model import Model  # type: ignore[import-untyped]
from modelscan.modelscan import ModelScan  # type: ignore[import-untyped]
from modelscan.scanners.scan import ScanBase, ScanResults  # type: ignore[import-untyped]
from modelscan.settings import DEFAULT_SETTINGS, SupportedModelFormats  # type: ignore[import-untyped]
from modelscan.skip import SkipCategories  # type: ignore[import-untyped]
from modelscan.tools.picklescanner import scan_pickle_bytes  # type: ignore[import-untyped]

from towpath.adapters import model_scan_arrays as arrays
from towpath.adapters import model_scan_sniff as sniff

_FORMATS: Final = {
    sniff.PICKLE: (SupportedModelFormats.PICKLE,),
    sniff.NUMPY: (SupportedModelFormats.NUMPY,),
    sniff.HDF5: (SupportedModelFormats.KERAS_H5,),
}
_HARMLESS: Final = {SkipCategories.SCAN_NOT_SUPPORTED}  # no scanner is for it; the list of formats has let it in


@dataclass(frozen=True, kw_only=True)
class Scanned:
    """What modelscan says: code that it found, each in a phrase, and what it could not read. `version` is its own."""

    version: str
    issues: tuple[str, ...]
    errors: tuple[str, ...]


class FormatByContent(MiddlewareBase):  # type: ignore[misc]
    """Adds the formats that a file or an archive's member is of by its bytes."""

    def __call__(self, model: Model, call_next: Callable[[Model], None]) -> None:
        stream = model.get_stream()
        known = _FORMATS.get(sniff.kind(stream.read(sniff.HEAD)) or "", ())
        stream.seek(0)
        model.set_context("formats", [*(model.get_context("formats") or []), *known])
        call_next(model)


class ArrayScan(ScanBase):  # type: ignore[misc]
    """In place of modelscan's own scan of arrays, which calls functions that numpy 2.3 no longer has."""

    def scan(self, model: Model) -> ScanResults | None:
        if SupportedModelFormats.NUMPY.value not in [known.value for known in model.get_context("formats")]:
            return None
        found = arrays.header(model.get_stream().read(sniff.HEAD))
        if found is None:
            return self.label_results(scan_pickle_bytes(model, self._settings, self.name()))
        if not arrays.objects(found[0]):
            return ScanResults([], [], [])
        return self.label_results(scan_pickle_bytes(model, self._settings, self.name(), offset=found[1]))

    @staticmethod
    def name() -> str:
        return "numpy"

    @staticmethod
    def full_name() -> str:
        return f"{__name__}.{ArrayScan.__name__}"


def scan(path: Path) -> Scanned:
    """Every file of a folder (or one file), disassembled, never loaded."""
    settings: dict[str, Any] = copy.deepcopy(DEFAULT_SETTINGS)
    settings["middlewares"][f"{__name__}.{FormatByContent.__name__}"] = {}
    settings["scanners"]["modelscan.scanners.NumpyUnsafeOpScan"]["enabled"] = False
    settings["scanners"][ArrayScan.full_name()] = {"enabled": True, "supported_extensions": [".npy"]}
    logging.getLogger("modelscan").setLevel(logging.CRITICAL)  # what it finds is in its results
    scanner = ModelScan(settings)
    scanner.scan(path)
    root = path if path.is_dir() else path.parent
    issues = sorted({_issue(issue, root) for issue in scanner.issues.all_issues})
    errors = [
        str(error)
        for error in scanner.errors
        # arrays within a skops file: the list of formats has looked into them
        if not (isinstance(error, NestedZipError) and str(error.path).endswith(".npz"))
    ]
    errors += [f"{_named(item.source, root)}: {item.message}" for item in scanner.skipped if _lacks(item)]
    return Scanned(version=str(settings["modelscan_version"]), issues=tuple(issues), errors=tuple(sorted(errors)))


def _lacks(item: Any) -> bool:
    return item.category not in _HARMLESS


def _issue(issue: Any, root: Path) -> str:
    said = issue.details.output_json()
    return f"{said.get('module')}.{said.get('operator')} in {_named(said['source'], root)} ({issue.severity.name})"


def _named(source: str, root: Path) -> str:
    return str(source).removeprefix(f"{root.absolute()}/")
