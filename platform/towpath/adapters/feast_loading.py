"""Feast, loaded in a third of the time, and without what it keeps by mistake.

Feast decorates its definitions with typeguard's `typechecked`, which compiles each of their 242 methods again, every
one from the whole text of its module: four of the six seconds that `import feast` takes. Here a method is compiled when
it is first called. What is checked, and how a wrong definition is refused, stays Feast's own.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from inspect import isfunction
from typing import Any, Final

_loading: Final = threading.RLock()


def load() -> None:
    """Import Feast, unless it is. Where something imported `feast` before, no time is saved; views it never keeps.

    Safe for threads: `typechecked` is replaced for the whole process meanwhile, so one does it, and the others wait.
    """
    with _loading:
        if "feast" not in sys.modules:
            _load()
        _forget_views()


def _load() -> None:
    import typeguard

    eager = typeguard.typechecked

    def typechecked(target: Any = None, **options: Any) -> Any:
        return _deferred(target) if isinstance(target, type) and not options else eager(target, **options)

    typeguard.typechecked = typechecked
    try:
        import feast  # noqa: F401
    finally:
        typeguard.typechecked = eager


def _forget_views() -> None:
    """Let each reading of a registry make its views anew.

    Feast keeps those that it read last, by the address in memory of the registry that they came from, and takes their
    placeholder from those without entities when it lists them. The next registry to come to lie at that address would
    have such views, which cannot be materialized.
    """
    from feast.infra.registry import proto_registry_utils as reading

    for name in ("get_any_feature_view", "list_all_feature_views", "list_feature_views", "list_stream_feature_views"):
        kept = getattr(reading, name)
        setattr(reading, name, getattr(kept, "__wrapped__", kept))


def _deferred(target: type) -> type:
    """The class with those of its own methods deferred that `typechecked` would compile now."""
    for name, found in list(vars(target).items()):
        if isinstance(found, classmethod | staticmethod):
            if _own(found.__func__, target):
                setattr(target, name, type(found)(_first_called(found.__func__)))
        elif isinstance(found, property):
            parts: tuple[Any, ...] = (found.fget, found.fset, found.fdel)
            get, put, delete = (_first_called(part) if _own(part, target) else part for part in parts)
            setattr(target, name, property(get, put, delete, found.__doc__))
        elif _own(found, target):
            setattr(target, name, _first_called(found))
    return target


def _own(found: Any, target: type) -> bool:
    return (
        isfunction(found)
        and found.__module__ == target.__module__
        and found.__qualname__.startswith(target.__qualname__ + ".")
        and not hasattr(found, "__wrapped__")  # typeguard leaves these as they are
    )


def _first_called(method: Any) -> Callable[..., Any]:
    @functools.cache
    def checked() -> Any:
        from typeguard._decorators import instrument  # what `typechecked` calls for each method

        made = instrument(method)
        return method if isinstance(made, str) else made

    @functools.wraps(method)
    def call(*arguments: Any, **named: Any) -> Any:
        return checked()(*arguments, **named)

    return call
