"""`towpath server`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from towpath.cli import options, output
from towpath.cli.attended import attend
from towpath.cli.exits import Exit
from towpath.core.errors import BadInput


def server(
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than this machine's only once a token was made.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any that is free.")] = 8090,
    tls_certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificate chain (PEM), where no ingress does TLS.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its private key (PEM).")] = None,
    trust_proxy: Annotated[
        str | None,
        typer.Option(metavar="ADDRESSES", help="Proxies whose X-Forwarded-For says who asks, with commas between."),
    ] = None,
    rate: Annotated[float, typer.Option(min=0.1, help="Requests a second of one person or program.")] = 20.0,
    burst: Annotated[int, typer.Option(min=1, help="How many of them at once.")] = 100,
    as_json: options.Json = False,
) -> int:
    """Serve the API until Ctrl-C: the commands that need no data, for whoever has a token (TOWPATH_SERVER).

    Example: towpath server --port 8090
    """
    from towpath.cli import opening

    if (tls_certificate is None) != (tls_key is None):
        raise BadInput("TLS takes a certificate and its key.", hint="Give --tls-certificate and --tls-key.")
    opening.require_embedded(opening.settings())
    config = {
        "host": host,
        "port": port,
        "trust_proxy": trust_proxy,
        "rate": rate,
        "burst": burst,
        "tls_certificate": str(tls_certificate.absolute()) if tls_certificate is not None else None,
        "tls_key": str(tls_key.absolute()) if tls_key is not None else None,
    }
    attend("towpath.console", config, named="server", say=lambda said: _say(said, as_json=as_json))
    output.messages().print("Stopped.")
    return Exit.GOOD


def _say(said: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        output.emit({"url": said["url"], "open": said["open"]})
        return
    url = said["url"]
    table = output.table("what", "address")
    table.add_row("the commands of others", f"TOWPATH_SERVER={url}")
    table.add_row("ready, metrics", f"{url}/readyz  {url}/metrics")
    table.add_row("all of it, described", f"{url}/openapi.json")
    console = output.results()
    console.print(table)
    if said["open"]:
        output.messages().print(
            "This installation is open: every program of this machine may do everything. The first token closes it: "
            "towpath token create",
            style="yellow",
            soft_wrap=True,
        )
    console.print("Stop with Ctrl-C.")
