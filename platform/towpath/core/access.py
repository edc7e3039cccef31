"""Who may do what: one matrix of roles and actions, as data. Default deny."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from towpath.core.errors import Forbidden
from towpath.core.identity import EVERY_PROJECT, Identity, Kind, Role


class Action(StrEnum):
    """What can be asked of the platform; the names are those of the commands and of the API's operations."""

    READ = "read"
    RUN = "run"
    MONITOR = "monitor"
    BATCH = "batch"
    EXPORT = "export"
    REPRODUCE = "reproduce"
    FEEDBACK = "feedback"
    APPROVE = "approve"
    WITHDRAW = "withdraw"
    WAIVE = "waive"
    PROMOTE = "promote"
    ROLLBACK = "rollback"
    ROLLOUT_START = "rollout-start"
    ROLLOUT_RUN = "rollout-run"
    ROLLOUT_PAUSE = "rollout-pause"
    ROLLOUT_RESUME = "rollout-resume"
    ROLLOUT_PROMOTE = "rollout-promote"
    ROLLOUT_ROLLBACK = "rollout-rollback"
    ROLLOUT_ABORT = "rollout-abort"
    EMERGENCY_OPEN = "emergency-open"
    EMERGENCY_CONFIRM = "emergency-confirm"
    EMERGENCY_FOLLOW_UP = "emergency-follow-up"
    RECONCILE = "reconcile"
    LEDGER_CHECKPOINT = "ledger-checkpoint"
    LEDGER_EXPORT = "ledger-export"
    LEDGER_BACKUP = "ledger-backup"
    HOLD_PLACE = "hold-place"
    HOLD_RELEASE = "hold-release"
    RETENTION_APPLY = "retention-apply"
    TOKEN_CREATE = "token-create"
    TOKEN_REVOKE = "token-revoke"
    TOKEN_LIST = "token-list"
    MODEL_ATTEST = "model-attest"
    KEY_ROTATE = "key-rotate"
    KEY_REVOKE = "key-revoke"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Who may: one of the roles.

    `persons`: no program may, whatever it was granted. `everywhere`: it is of no one project; it takes a grant for all.
    """

    roles: frozenset[Role]
    persons: bool = False
    everywhere: bool = False


def _rule(*roles: Role, persons: bool = False, everywhere: bool = False) -> Rule:
    return Rule(roles=frozenset(roles), persons=persons, everywhere=everywhere)


_SCIENTIST, _MANAGER, _ADMIN = Role.DATA_SCIENTIST, Role.RELEASE_MANAGER, Role.PLATFORM_ADMIN
_AUDITOR, _AUTOMATION = Role.AUDITOR, Role.AUTOMATION

MATRIX: Final[Mapping[Action, Rule]] = {
    Action.READ: _rule(*Role),
    Action.RUN: _rule(_SCIENTIST, _AUTOMATION),
    Action.MONITOR: _rule(_SCIENTIST, _MANAGER, _AUTOMATION),
    Action.BATCH: _rule(_SCIENTIST, _AUTOMATION),
    Action.EXPORT: _rule(_SCIENTIST, _MANAGER),
    Action.REPRODUCE: _rule(_SCIENTIST, _AUDITOR, _AUTOMATION),
    Action.FEEDBACK: _rule(_SCIENTIST, _AUTOMATION),
    Action.APPROVE: _rule(_MANAGER, _ADMIN, persons=True),
    Action.WITHDRAW: _rule(_MANAGER, _ADMIN, persons=True),
    Action.WAIVE: _rule(_MANAGER, persons=True),
    Action.PROMOTE: _rule(_MANAGER, persons=True),
    Action.ROLLBACK: _rule(_MANAGER, _ADMIN, persons=True),
    Action.ROLLOUT_START: _rule(_MANAGER, persons=True),
    Action.ROLLOUT_RUN: _rule(_AUTOMATION, _MANAGER, _ADMIN),
    Action.ROLLOUT_PAUSE: _rule(_MANAGER, _ADMIN, persons=True),
    Action.ROLLOUT_RESUME: _rule(_MANAGER, persons=True),
    Action.ROLLOUT_PROMOTE: _rule(_MANAGER, persons=True),
    Action.ROLLOUT_ROLLBACK: _rule(_MANAGER, _ADMIN, persons=True),
    Action.ROLLOUT_ABORT: _rule(_MANAGER, _ADMIN, persons=True),
    Action.EMERGENCY_OPEN: _rule(_MANAGER, _ADMIN, persons=True),
    Action.EMERGENCY_CONFIRM: _rule(_MANAGER, _ADMIN, persons=True),
    Action.EMERGENCY_FOLLOW_UP: _rule(_MANAGER, _ADMIN, persons=True),
    Action.RECONCILE: _rule(_AUTOMATION, _ADMIN),
    Action.LEDGER_CHECKPOINT: _rule(_AUDITOR, _ADMIN, _AUTOMATION, everywhere=True),
    Action.LEDGER_EXPORT: _rule(_AUDITOR, _ADMIN, everywhere=True),
    Action.LEDGER_BACKUP: _rule(_ADMIN, everywhere=True),
    Action.HOLD_PLACE: _rule(_AUDITOR, persons=True),
    Action.HOLD_RELEASE: _rule(_AUDITOR, persons=True),
    Action.RETENTION_APPLY: _rule(_ADMIN, persons=True, everywhere=True),
    Action.TOKEN_CREATE: _rule(_ADMIN, persons=True, everywhere=True),
    Action.TOKEN_REVOKE: _rule(_ADMIN, persons=True, everywhere=True),
    Action.TOKEN_LIST: _rule(_ADMIN, _AUDITOR, everywhere=True),
    Action.MODEL_ATTEST: _rule(_ADMIN, persons=True),
    Action.KEY_ROTATE: _rule(_ADMIN, persons=True, everywhere=True),
    Action.KEY_REVOKE: _rule(_ADMIN, persons=True, everywhere=True),
}


def permits(identity: Identity, action: Action, project: str = EVERY_PROJECT) -> bool:
    """Whether the identity may do that in that project. An action that is not of one project needs a grant for all."""
    rule = MATRIX[action]
    if rule.persons and identity.kind is not Kind.PERSON:
        return False
    return bool(rule.roles & identity.roles(EVERY_PROJECT if rule.everywhere else project))


def require(identity: Identity, action: Action, project: str = EVERY_PROJECT) -> None:
    """Raises `Forbidden` with the roles that may, unless the identity may do that in that project."""
    if permits(identity, action, project):
        return
    rule = MATRIX[action]
    where = "every project" if rule.everywhere else project
    roles = ", ".join(sorted(identity.roles(EVERY_PROJECT if rule.everywhere else project)))
    has = f"as {roles}" if roles else "without a role there"
    persons = "; it is for persons, not for programs" if rule.persons and identity.kind is not Kind.PERSON else ""
    raise Forbidden(
        f"{identity.person} may not {action} in {where} {has}{persons}.",
        value=action.value,
        valid=sorted(rule.roles),
        hint="A platform admin grants roles: `towpath token create`, or the groups of your identity provider.",
    )
