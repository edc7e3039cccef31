"""Approved candidates become loaded models, each once, and are closed a while after the last plan has named them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from towpath.core.evidence import Record, Subject
from towpath.gateway.batching import Batcher
from towpath.gateway.outputs import outputs_of
from towpath.gateway.plan import Model
from towpath.ports import Keys, Ledger, Models, Objects, Purpose, Runtime, Runtimes, TrustedKey
from towpath.stages import scratch
from towpath.stages.attested import Attested, require_attested
from towpath.stages.scratch import Scratch
from towpath.stages.serving import Approved, load

_LINGER_SECONDS = 30.0  # no request is as old as that
_WARM_SECONDS = 60.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Stores:
    """Where models come from. `models` is opened only when a model has no compiled form: it costs seconds."""

    objects: Objects
    models: Callable[[], Models]
    runtimes: Runtimes
    keys: Keys
    scratch: Path


class Loader:
    """Loaded models by candidate. `get` and `retire` are for one thread, which may be another than the loop's."""

    def __init__(self, stores: Stores, loop: asyncio.AbstractEventLoop, ledger: Ledger) -> None:
        self._stores = stores
        self._loop = loop
        self._ledger = ledger
        self._loaded: dict[str, Model] = {}

    def get(self, approved: Approved, known: Sequence[Record] = ()) -> Model:
        """The model, verified and loaded. Raises `IntegrityError` for other bytes than were recorded.

        `known`: its attestations that were read already. One is proven every time, also of a model that is loaded: its
        key may have been revoked meanwhile.
        """
        attested = self.prove(approved, known)
        found = self._loaded.get(approved.digest)
        if found is None:
            found = self._loaded[approved.digest] = self._model(approved, attested)
            _log.info("loaded %s as %s", approved.candidate, found.main.runtime.kind)
        return found

    def prove(self, approved: Approved, known: Sequence[Record] = ()) -> Attested:
        """That a trusted key states what it is, as the keys are now. Raises `IntegrityError`."""
        return require_attested(self._ledger, self._stores.keys, approved.claims, known=known)

    def trusted(self) -> Mapping[str, TrustedKey]:
        """The keys of models by id, the revoked ones too: other keys let other models be loaded."""
        return self._stores.keys.trusted(Purpose.MODEL)

    def _model(self, approved: Approved, attested: Attested) -> Model:
        folders: list[Scratch] = []
        try:
            main = self._open(approved, approved.runtime, attested, folders)
            second = approved.cheaper
            cheaper = self._open(approved, second, attested, folders) if second is not None else None
        except BaseException:
            _remove(folders)
            raise
        if main.inline and (cheaper is None or cheaper.inline):
            _remove(folders)
        return Model(
            approved=approved,
            main=Batcher(main, self._loop, width=approved.width),
            cheaper=Batcher(cheaper, self._loop, width=approved.width) if cheaper is not None else None,
            outputs=outputs_of(approved.classes),
            removed=partial(_remove, folders),
        )

    def retire(self, keep: set[str]) -> None:
        """Close what no plan names any more, once its last request has been answered for certain."""
        for digest in [digest for digest in self._loaded if digest not in keep]:
            model = self._loaded.pop(digest)
            self._loop.call_soon_threadsafe(self._loop.call_later, _LINGER_SECONDS, model.close)

    def close(self) -> None:
        for model in self._loaded.values():
            model.close()
        self._loaded.clear()

    def _open(self, approved: Approved, subject: Subject | None, attested: Attested, folders: list[Scratch]) -> Runtime:
        """The runtime from a folder of its own, which one in another process needs again when that is killed."""
        folders.append(scratch.make(self._stores.scratch))
        runtime = load(
            approved,
            subject,
            attested=attested,
            objects=self._stores.objects,
            models=self._stores.models,
            runtimes=self._stores.runtimes,
            folder=folders[-1].path,
        )
        self._warm(runtime, len(approved.columns))
        return runtime

    def _warm(self, runtime: Runtime, columns: int) -> None:
        """The first prediction costs more than the others; a row without values is as good as any for it."""
        row = [[None] * columns]
        try:
            if runtime.inline:
                runtime.predict(row)
            else:
                asyncio.run_coroutine_threadsafe(runtime.predict_apart(row), self._loop).result(_WARM_SECONDS)
        except Exception as error:  # noqa: BLE001 - a model may refuse such a row, and serve others well
            _log.info("warming up: %s: %s", type(error).__name__, error)


def _remove(folders: list[Scratch]) -> None:
    while folders:
        folders.pop().remove()
