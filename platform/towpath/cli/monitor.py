"""`towpath monitor`"""

from __future__ import annotations

from pathlib import Path

from towpath.cli import options, output


def monitor(project: options.Folder = Path(), as_of: options.AsOf = None, as_json: options.Json = False) -> int:
    """Compare the newest data with what the champion was trained on; exit code 3 when it drifted or a gate refused.

    Example: towpath monitor my-model --as-of 2013-08-01
    """
    from towpath.cli import opening, walk
    from towpath.cli.progress import StageProgress
    from towpath.core.access import Action
    from towpath.path import WATCH
    from towpath.project import load

    settings, loaded = opening.settings(), load(project)
    identity = opening.acting(settings, None, Action.MONITOR, loaded.charter.project)
    with (
        output.libraries_on_stderr(),
        StageProgress(output.messages()) as progress,
        walk.opened(settings, loaded, progress, as_of=as_of, order=WATCH, identity=identity) as work,
    ):
        walked = walk.walk(work, progress)
        pages = walk.export(work, walked.candidate, suffix=".html")
    if as_json:
        reports = [str(page) for page in pages]
        output.emit({**walk.document(walked, as_of=work.as_of), "reports": reports})
        return walked.code
    walk.closing(walked)
    for page in pages:
        output.results().print(f"Report: {page}", soft_wrap=True)
    return walked.code
