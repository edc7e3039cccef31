"""What somebody with MLflow's rights can do by hand, and the code of the incident that it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from towpath.core import names

Attack = Callable[[Any, str], None]


def move_alias(client: Any, name: str) -> None:
    client.set_registered_model_alias(name, names.ALIAS_CHAMPION, "2")


def take_alias(client: Any, name: str) -> None:
    client.delete_registered_model_alias(name, names.ALIAS_CHAMPION)


def move_candidate(client: Any, name: str) -> None:
    client.set_registered_model_alias(name, names.ALIAS_CANDIDATE, "1")


def edit_tag(client: Any, name: str) -> None:
    client.set_model_version_tag(name, "1", names.TAG_DECISION, "sha256:forged")


def delete_tag(client: Any, name: str) -> None:
    client.delete_model_version_tag(name, "1", names.TAG_MODEL)


def promote_by_tag(client: Any, name: str) -> None:
    """A version that was never champion says that it is one."""
    client.set_model_version_tag(name, "2", names.TAG_OUTCOME, "PROMOTE")
    client.set_model_version_tag(name, "2", names.TAG_DECISION, "sha256:forged")


def set_stage(client: Any, name: str) -> None:
    client.transition_model_version_stage(name, "2", "Production", archive_existing_versions=True)


def rename(client: Any, name: str) -> None:
    client.rename_registered_model(name, f"{name}-mine")


def delete_version(client: Any, name: str) -> None:
    client.delete_model_version(name, "1")


def delete_model(client: Any, name: str) -> None:
    client.delete_registered_model(name)


def replace_model(client: Any, name: str) -> None:
    """Version 1 again, with the champion's tags and alias, made from the other model's files."""
    old, other = client.get_model_version(name, "1"), client.get_model_version(name, "2")
    client.delete_registered_model(name)
    client.create_registered_model(name)
    client.create_model_version(name, other.source, run_id=old.run_id, tags=dict(old.tags))
    client.set_registered_model_alias(name, names.ALIAS_CHAMPION, "1")


ATTACKS: Mapping[str, tuple[Attack, str]] = {
    "the alias is moved": (move_alias, "reconcile.alias"),
    "the alias is taken away": (take_alias, "reconcile.alias"),
    "the candidate's alias is moved": (move_candidate, "reconcile.alias"),
    "a tag is edited": (edit_tag, "reconcile.tags"),
    "a tag is deleted": (delete_tag, "reconcile.tags"),
    "a version is called promoted": (promote_by_tag, "reconcile.tags"),
    "a stage is set": (set_stage, "reconcile.stage"),
    "the model is renamed": (rename, "reconcile.name"),
    "the version is deleted": (delete_version, "reconcile.version"),
    "the model is deleted": (delete_model, "reconcile.name"),
}


def shown(client: Any, name: str) -> dict[str, Any]:
    """What MLflow shows of a registered model: which run is behind each alias, what its versions say."""
    model = client.get_registered_model(name)
    versions = {str(one.version): one for one in client.search_model_versions(f"name = '{name}'")}
    return {
        alias: (versions[str(number)].run_id, dict(versions[str(number)].tags), versions[str(number)].current_stage)
        for alias, number in model.aliases.items()
    }
