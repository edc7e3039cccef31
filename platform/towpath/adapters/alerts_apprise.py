"""Alerts through Apprise, to whatever a team reads: mail, chat, pagers, plain webhooks."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apprise import Apprise

_logger = logging.getLogger(__name__)


class AppriseAlerts:
    """The port `Alerts`. Apprise is imported at the first alert: it costs half a second.

    An address may hold a password, so the log says only which of them, by number, did not take an alert.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self.sent = 0
        self.failed = 0
        self._addresses = addresses
        self._opened: list[Apprise | None] | None = None

    def tell(self, title: str, text: str) -> None:
        """Tell every address. Never raises: who reads no alert finds the same in the ledger."""
        for number, service in enumerate(self._services(), start=1):
            if service is not None and self._told(service, title, text):
                self.sent += 1
            else:
                self.failed += 1
                _logger.warning("address %d of TOWPATH_ALERTS did not take the alert: %s", number, title)

    def _services(self) -> Sequence[Apprise | None]:
        """Each address as a service of its own, so that one that fails is known; None for what is no address."""
        if self._opened is None:
            self._opened = [_opened(address) for address in self._addresses]
        return self._opened

    @staticmethod
    def _told(service: Apprise, title: str, text: str) -> bool:
        from apprise import NotifyType

        try:
            return bool(service.notify(body=text, title=title, notify_type=NotifyType.WARNING))
        except Exception:  # a plugin's fault is no reason to stop reconciling
            _logger.debug("an alert failed", exc_info=True)
            return False


def _opened(address: str) -> Apprise | None:
    """None, too, where Apprise itself cannot be used."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of modules that Apprise imports
            return _service(address)
    except Exception:  # as above
        _logger.warning("Apprise cannot be used", exc_info=True)
        return None


def _service(address: str) -> Apprise | None:
    """Without plugins of the user's own, a persistent store, or waiting for answers longer than Apprise's 4 seconds."""
    import apprise

    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # it logs addresses
    asset = apprise.AppriseAsset(
        app_id="Towpath",
        app_desc="Towpath",
        app_url="",
        plugin_paths=[],
        storage_mode=apprise.PersistentStoreMode.MEMORY,
        secure_logging=True,
        async_mode=False,
    )
    service = apprise.Apprise(asset=asset)
    return service if service.add(address) else None
