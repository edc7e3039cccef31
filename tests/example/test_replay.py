"""Recorded rows as live traffic, against an HTTP server."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from towpath.core import names
from towpath.example.replay import Recorded, Replay

ROWS, AHEAD = 100, 40


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        text = json.dumps({"parameters": {"arm": "champion"}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    start = datetime(2013, 6, 1, tzinfo=UTC)
    times = [start + timedelta(minutes=place) for place in range(ROWS)]
    rows = {
        "flight": [f"f{place}" for place in range(ROWS)],
        "distance": [float(place) for place in range(ROWS)],
        "late": [place % 2 for place in range(ROWS)],
        names.EVENT_TIME: times,
        names.LABEL_TIME: [one + timedelta(hours=1) for one in times],
    }
    pq.write_table(pa.table(rows), tmp_path / "rows.parquet")
    return Recorded(
        project="delays", file=tmp_path / "rows.parquet", columns=["distance"], row_id="flight", target="late"
    )


def _settles(sent: Callable[[], int]) -> int:
    """What is reached, once nothing more comes for a while."""
    before = -1
    while sent() != before:
        before = sent()
        time.sleep(0.3)
    return before


def test_no_more_is_sent_than_the_judge_can_follow(url: str, recorded: Recorded) -> None:
    replay = Replay(recorded, url, rate=5_000, ahead=AHEAD)
    replay.start()
    assert _settles(lambda: replay.done.sent) == AHEAD
    assert replay.running
    replay.judged(datetime.now(UTC))
    assert _settles(lambda: replay.done.sent) == 2 * AHEAD
    replay.judged(datetime(2013, 6, 1, tzinfo=UTC))  # an older look takes nothing back
    replay.judged(datetime.now(UTC))
    assert _settles(lambda: replay.done.sent) == ROWS
    assert not replay.running
    done = replay.finish()
    assert (done.sent, done.failed, done.labels, dict(done.arms)) == (ROWS, 0, ROWS, {"champion": ROWS})


def test_a_replay_that_waits_for_the_judge_ends_when_told(url: str, recorded: Recorded) -> None:
    replay = Replay(recorded, url, rate=5_000, ahead=AHEAD)
    replay.start()
    assert _settles(lambda: replay.done.sent) == AHEAD
    done = replay.finish()
    assert not replay.running
    assert (done.sent, done.failed) == (AHEAD, 0)
