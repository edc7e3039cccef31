"""CycloneDX 1.6: the model as a component with its card, the data it was trained on, and the libraries it stands on.

The library has no class for model cards; the card is put into its JSON, and the whole is held to the JSON Schema of
CycloneDX 1.6 (bom-1.6.schema.json) before it is written.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from towpath.core.bill import Bill, Part
from towpath.core.digest import PREFIX
from towpath.core.errors import BadInput

_MODEL: Final = "model"


class CycloneDxBills:
    """The port `Bills`."""

    def write(self, bill: Bill, target: Path) -> Path:
        bom = Bom()
        model = Component(
            name=bill.name,
            version=bill.version,
            type=ComponentType.MACHINE_LEARNING_MODEL,
            bom_ref=_MODEL,
            description=bill.purpose,
            hashes=_hashes(bill.model_digest),
            properties=[Property(name=name, value=value) for name, value in bill.properties.items()],
        )
        bom.metadata.component = model
        parts = [
            *(_part(ComponentType.DATA, "dataset", part) for part in bill.datasets),
            *(_part(ComponentType.FILE, "file", part) for part in bill.files),
            *(_library(part) for part in bill.libraries),
        ]
        for part in parts:
            bom.components.add(part)
        bom.register_dependency(model, parts)
        document: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
        document["metadata"]["component"]["modelCard"] = _card(bill)
        text = json.dumps(document, indent=1, ensure_ascii=False)
        require_valid(text)
        target.write_text(text, encoding="utf-8")
        return target


def require_valid(text: str) -> None:
    """Raises `BadInput` for a document that the schema of CycloneDX 1.6 does not allow."""
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if wrong is not None:
        raise BadInput(f"The bill of materials is not CycloneDX 1.6: {str(wrong)[:500]}", value="bom")


def _hashes(digest: str | None) -> list[HashType]:
    return [] if digest is None else [HashType(alg=HashAlgorithm.SHA_256, content=digest.removeprefix(PREFIX))]


def _part(kind: ComponentType, word: str, part: Part) -> Component:
    rows = [] if part.rows is None else [Property(name="towpath:rows", value=str(part.rows))]
    return Component(
        name=part.name,
        version=part.version or None,
        type=kind,
        bom_ref=f"{word}:{part.name}",
        hashes=_hashes(part.digest),
        properties=rows,
    )


def _library(part: Part) -> Component:
    purl = PackageURL(type="pypi", name=part.name.lower().replace("_", "-"), version=part.version)
    if part.name == "python":
        purl = PackageURL(type="generic", name="python", version=part.version)
    return Component(
        name=part.name, version=part.version, type=ComponentType.LIBRARY, bom_ref=purl.to_string(), purl=purl
    )


def _card(bill: Bill) -> dict[str, Any]:
    return {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": "binary classification",
            "architectureFamily": bill.architecture,
            "modelArchitecture": bill.architecture,
            "datasets": [{"ref": f"dataset:{part.name}"} for part in bill.datasets],
            "inputs": [{"format": name} for name in bill.inputs],
            "outputs": [{"format": f"the chance that {bill.target} is 1"}],
        },
        "quantitativeAnalysis": {
            "performanceMetrics": [
                {
                    "type": figure.name,
                    "value": figure.value,
                    **({"slice": figure.slice} if figure.slice else {}),
                    **(
                        {"confidenceInterval": {"lowerBound": figure.interval[0], "upperBound": figure.interval[1]}}
                        if figure.interval
                        else {}
                    ),
                }
                for figure in bill.metrics
            ]
        },
        "considerations": {
            "users": [bill.owner],
            "useCases": [bill.purpose],
            "technicalLimitations": list(bill.limitations),
            "ethicalConsiderations": [{"name": f"risk tier {bill.risk}"}],
        },
    }
