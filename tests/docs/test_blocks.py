"""What README and the tutorials tell people to type is typed here, and must print what they show."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from docs import pages
from docs.conftest import Demonstrated, Shell
from docs.pages import ROOT, Block
from servers.oidc import OidcServer
from servers.s3 import S3Server

README = ROOT / "README.md"
DEMO = "make demo"  # sets up, and then does what the fixture did
NOTATIONS = {"text", "yaml", "json", "ini", "sql"}  # are read; every other block is run

pytestmark = pytest.mark.slow


def executed() -> list[Path]:
    return [README, *sorted((ROOT / "docs/tutorials").glob("*.md")), ROOT / "docs/how-it-works.md"]


@pytest.mark.parametrize("page", executed(), ids=lambda page: page.stem)
@pytest.mark.timeout(1200)
def test_page(
    page: Path,
    demonstrated: Demonstrated,
    shell_after_demo: Callable[[], Shell],
    request: pytest.FixtureRequest,
) -> None:
    shell = shell_after_demo()
    _learn(demonstrated, shell)
    if page.stem == "platform-team":
        shell.replaced |= _services(request)
    if page.stem == "access":
        server: OidcServer = request.getfixturevalue("oidc_server")
        shell.replaced |= {"https://login.example.com": server.issuer}
        shell.environment |= {"CLIENT_SECRET": server.secret}
    for block in pages.blocks(page.read_text(encoding="utf-8")):
        where = f"{page.name}, line {block.line}"
        if block.language == "console":
            _console(block, shell, demonstrated, where)
        elif block.language == "bash":
            _good(shell.run(f"set -euo pipefail\n{block.text}"), where)
        elif block.language == "python":
            _python(block, shell, where)
        elif block.language == "diff":
            (shell.folder / ".change.diff").write_text(block.text, encoding="utf-8")
            _good(shell.run("git apply --verbose .change.diff"), where)
        else:
            assert block.language in NOTATIONS, f"{where}: a block of {block.language!r} is neither run nor text"


def _learn(demonstrated: Demonstrated, shell: Shell) -> None:
    """The digests of the demo as README shows them: the same on every page."""
    for block in pages.blocks(README.read_text(encoding="utf-8")):
        for step in pages.steps(block) if block.language == "console" else ():
            if step.command == DEMO:
                pages.mismatch(step.shown, demonstrated.printed.out, shell.known)


def _console(block: Block, shell: Shell, demonstrated: Demonstrated, where: str) -> None:
    steps = pages.steps(block)
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        printed = demonstrated.printed if step.command == DEMO else shell.run(step.command)
        told = following is not None and following.command == "echo $?"
        assert told or printed.code == 0, f"{where}: `{step.command}` ends with {printed.code}\n{printed.err}"
        text = shell.as_on_the_page(printed.out + pages.without_progress(printed.err))
        wrong = pages.mismatch(step.shown, text, shell.known)
        assert wrong is None, f"{where}: `{step.command}`: {wrong}\n--- it prints\n{text}"


def _python(block: Block, shell: Shell, where: str) -> None:
    """A block with a file name behind `python` is that file; one without is run."""
    name = block.extra or ".block.py"
    (shell.folder / name).write_text(pages.with_known(block.text, shell.known), encoding="utf-8")
    if not block.extra:
        _good(shell.run(f"python {name}"), where)


def _good(printed: object, where: str) -> None:
    assert getattr(printed, "code", None) == 0, f"{where}: {printed}"


def _services(request: pytest.FixtureRequest) -> dict[str, str]:
    """A real PostgreSQL and a real S3 server behind the addresses that the page makes up."""
    server: S3Server = request.getfixturevalue("rclone_s3")
    return {
        "postgresql://towpath:secret@db.example.com/towpath": request.getfixturevalue("postgres_database"),
        "s3://towpath-objects": f"s3://{server.new_bucket().name}",
        "https://s3.example.com": server.endpoint,
        "AKEXAMPLE": server.access_key,
        "SKEXAMPLE": server.secret_key,
    }


def test_make_demo_is_what_the_pages_take_it_for() -> None:
    done = subprocess.run(["make", "-n", "demo"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.search(r"^\S*towpath demo$", done.stdout, flags=re.MULTILINE), done.stdout
