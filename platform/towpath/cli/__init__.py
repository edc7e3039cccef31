"""The command line. This module is its edge: what a command raises becomes a sentence and an exit code here.

Nothing heavy is imported until a command needs it: `towpath --help` loads none of the services.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence

import typer

from towpath.cli import output
from towpath.cli.app import app
from towpath.cli.exits import Exit, exit_of
from towpath.core.errors import TowpathError


def main() -> None:
    """The console script."""
    debug = _given("--debug", sys.argv[1:])
    _log(debug)
    if not debug:
        # The first to be registered is the last to run. What libraries still say behind it, while the interpreter is
        # taken apart (DuckDB's bindings count what other libraries never gave back), is of no use to anyone.
        atexit.register(_mute)
    sys.exit(run(sys.argv[1:]))


def _log(debug: bool) -> None:
    """Our own warnings on stderr, with `--debug` everybody's. What libraries think of an error stands in ours."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    if not debug:
        handler.addFilter(logging.Filter("towpath"))
    logging.basicConfig(handlers=[handler], level=logging.INFO if debug else logging.WARNING)


def _mute() -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def run(arguments: Sequence[str]) -> int:
    """One command, from its arguments to its exit code. Raises nothing."""
    as_json, debug = _given("--json", arguments), _given("--debug", arguments)
    try:
        with _quiet(debug):
            code = app(list(arguments), prog_name="towpath", standalone_mode=False)
        sys.stdout.flush()
    except TowpathError as error:
        output.error(error, as_json=as_json)
        return exit_of(error)
    except (KeyboardInterrupt, typer.Abort):
        return Exit.INTERRUPTED
    except BrokenPipeError:
        return _closed()
    except SystemExit as error:
        if isinstance(error.__context__, OSError):  # Typer's own handling of a closed pipe
            return _closed()
        return _bug(error, as_json=as_json, debug=debug)
    except typer.TyperException as error:
        output.usage(error, as_json=as_json)
        return Exit.INPUT
    except Exception as error:  # noqa: BLE001 - the edge: whatever it is, it becomes a sentence
        return _bug(error, as_json=as_json, debug=debug)
    return code if isinstance(code, int) else Exit.GOOD


def _given(flag: str, arguments: Sequence[str]) -> bool:
    """Whether a flag is among the arguments, also when they do not parse."""
    return flag in arguments and ("--" not in arguments or arguments.index(flag) < arguments.index("--"))


@contextlib.contextmanager
def _quiet(debug: bool) -> Iterator[None]:
    with warnings.catch_warnings():
        if not debug:
            warnings.simplefilter("ignore")
        yield


def _closed() -> int:
    """Whoever read our output has closed it: say nothing, also not when Python flushes at exit."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
    return Exit.CLOSED


def _bug(error: BaseException, *, as_json: bool, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exception(error)
    output.bug(error, as_json=as_json)
    return Exit.UNEXPECTED
