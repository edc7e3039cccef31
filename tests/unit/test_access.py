"""Who may do what: the matrix is whole, and denies what it does not say."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from towpath.core.access import MATRIX, Action, permits, require
from towpath.core.errors import Forbidden
from towpath.core.identity import EVERY_PROJECT, Identity, Kind, Proof, Role, claimed


def holder(role: Role, project: str = "flights", kind: Kind = Kind.PERSON) -> Identity:
    grants = {project: frozenset({role})}
    return Identity(person="ada", account="ada", kind=kind, proof=Proof.TOKEN, credential="t1", grants=grants)


def test_every_action_has_a_rule_and_somebody_who_may() -> None:
    assert set(MATRIX) == set(Action)
    assert all(rule.roles for rule in MATRIX.values())


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("role", Role)
def test_a_role_may_what_the_matrix_says_in_its_project_and_nothing_elsewhere(role: Role, action: Action) -> None:
    rule = MATRIX[action]
    here = holder(role, EVERY_PROJECT if rule.everywhere else "flights")
    assert permits(here, action, "flights") is (role in rule.roles)
    assert not permits(holder(role, "other"), action, "flights")
    if rule.everywhere:
        assert not permits(holder(role), action, "flights")


@pytest.mark.parametrize("action", [action for action, rule in MATRIX.items() if rule.persons])
def test_no_program_decides(action: Action) -> None:
    program = holder(Role.AUTOMATION, EVERY_PROJECT, Kind.SERVICE)
    assert not permits(program, action, "flights")
    with pytest.raises(ValidationError, match="a service cannot be release-manager"):
        holder(Role.RELEASE_MANAGER, EVERY_PROJECT, Kind.SERVICE)


def test_a_refusal_says_who_may_and_what_one_has() -> None:
    with pytest.raises(Forbidden) as caught:
        require(holder(Role.DATA_SCIENTIST), Action.APPROVE, "flights")
    assert "ada may not approve in flights" in caught.value.message
    assert "data-scientist" in caught.value.message
    assert caught.value.valid == ("platform-admin", "release-manager")


def test_whoever_writes_the_embedded_files_has_every_role_and_a_name_that_is_only_claimed() -> None:
    assert all(permits(claimed("ada"), action, "flights") for action in Action)
    assert claimed("ada").via == "claimed"
    assert holder(Role.VIEWER).model_copy(update={"account": "ada-admin"}).via == "token:t1 (ada-admin)"
