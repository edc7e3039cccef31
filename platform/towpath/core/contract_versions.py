"""Semantic versions of contracts: which bump a set of changes needs, and whether a new version is enough."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from towpath.core.errors import DeclarationError

# The grammar of semver.org 2.0.0; a leading v is common in contracts.
_VERSION = re.compile(r"v?(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?")


class Bump(StrEnum):
    """The part of a version that has to grow, the least first."""

    NONE = "none"
    PATCH = "patch"
    MINOR = "minor"
    MAJOR = "major"


@dataclass(frozen=True, kw_only=True, order=True)
class Version:
    """A semantic version without what stands behind its three numbers: 2.0.0-rc.1 is held to be 2.0.0."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str, *, where: str) -> Version:
        """Raises `DeclarationError` for what is no semantic version; `where` says whose it is."""
        match = _VERSION.fullmatch(text)
        if match is None:
            raise DeclarationError(
                f"{where}: version is {text!r}, which is no semantic version.",
                value=text,
                hint="Write three numbers: major.minor.patch, such as 1.4.0.",
            )
        return cls(major=int(match[1]), minor=int(match[2]), patch=int(match[3]))

    def bumped(self, by: Bump) -> Version:
        """The least version that is so much higher. 0.y.z is bumped as any other: who reads it is broken as much."""
        match by:
            case Bump.MAJOR:
                return Version(major=self.major + 1, minor=0, patch=0)
            case Bump.MINOR:
                return Version(major=self.major, minor=self.minor + 1, patch=0)
            case Bump.PATCH:
                return Version(major=self.major, minor=self.minor, patch=self.patch + 1)
            case Bump.NONE:
                return self

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"
