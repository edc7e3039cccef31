"""Exit codes: the one table from error classes to what a shell or a scheduler sees."""

from __future__ import annotations

from enum import IntEnum

from towpath.core.errors import (
    BadInput,
    Conflict,
    DeclarationError,
    Denied,
    IntegrityError,
    Misconfigured,
    NotFound,
    OutOfOrder,
    TooManyRequests,
    TowpathError,
    Unauthenticated,
    Unreachable,
    Unwritable,
)


class Exit(IntEnum):
    """What a command ends with."""

    GOOD = 0
    UNEXPECTED = 1  # a defect of Towpath; of `doctor`: something has to be mended
    INPUT = 2  # an argument, a declaration, a setting, a folder: yours to mend
    REFUSED = 3  # a gate or a policy said no
    INTEGRITY = 4  # stored bytes are not those recorded
    UNREACHABLE = 5  # a service does not answer: trying again later can help
    INTERRUPTED = 130
    CLOSED = 141  # whoever read the output closed it


CODES: dict[type[TowpathError], Exit] = {
    DeclarationError: Exit.INPUT,
    NotFound: Exit.INPUT,
    BadInput: Exit.INPUT,
    OutOfOrder: Exit.INPUT,
    Misconfigured: Exit.INPUT,
    Unwritable: Exit.INPUT,
    Denied: Exit.REFUSED,
    Unauthenticated: Exit.REFUSED,
    Conflict: Exit.UNREACHABLE,
    IntegrityError: Exit.INTEGRITY,
    Unreachable: Exit.UNREACHABLE,
    TooManyRequests: Exit.UNREACHABLE,
}


def exit_of(error: TowpathError) -> Exit:
    """The exit code of an error: that of its nearest class in the table."""
    return next((CODES[kind] for kind in type(error).__mro__ if kind in CODES), Exit.UNEXPECTED)
