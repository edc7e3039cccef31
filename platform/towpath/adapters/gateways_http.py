"""What gateways say that they have loaded, on the metadata page of the Open Inference Protocol."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from urllib.parse import quote, urlsplit

from towpath.core.errors import Misconfigured, Unreachable
from towpath.core.reconciliation import Loaded

_SECONDS = 5
_MOST_BYTES = 1_000_000


class HttpGateways:
    """The port `Gateways`."""

    def loaded(self, address: str, project: str) -> Loaded:
        """Raises `Unreachable` for a gateway that does not answer, or not so, and `Misconfigured` for no address."""
        if urlsplit(address).scheme not in ("http", "https"):
            raise Misconfigured(
                f"TOWPATH_GATEWAYS names {address!r}.", value=address, valid=["http://host:port", "https://host:port"]
            )
        page = f"{address.rstrip('/')}/v2/models/{quote(project)}"
        try:
            with urllib.request.urlopen(page, timeout=_SECONDS) as answer:  # noqa: S310 - the scheme was looked at
                said = json.loads(answer.read(_MOST_BYTES))
            return Loaded(model=str(said["parameters"]["model"]), versions=tuple(str(one) for one in said["versions"]))
        except urllib.error.HTTPError as error:
            with error:
                raise _silent(address, f"it answers {error.code} about {project}") from error
        except (OSError, http.client.HTTPException) as error:
            raise _silent(address, type(error).__name__) from error
        except (ValueError, KeyError, TypeError) as error:
            raise _silent(address, "its page is not that of a gateway") from error


def _silent(address: str, what: str) -> Unreachable:
    return Unreachable(
        f"The gateway {address} does not say what it has loaded: {what}.",
        value=address,
        hint="Start it, or mend TOWPATH_GATEWAYS.",
    )
