"""What objects of two S3 services give as Parquet, and what is said of those that cannot be read."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.snapshots import Reader, bytes_of, rows_of
from servers.s3 import S3Bucket, S3Server
from towpath.adapters.s3_client import S3Settings
from towpath.adapters.sources import UriSources
from towpath.core.errors import BadInput, Misconfigured, Unreachable


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    base = tmp_path / "project"
    base.mkdir()
    return Reader(base=base)


def s3_sources(server: S3Server) -> UriSources:
    settings = S3Settings(
        endpoint=server.endpoint,
        region="us-east-1",
        access_key=server.access_key,
        secret_key=server.secret_key,
        attempts=2,
    )
    return UriSources(s3=settings)


def test_objects_below_a_prefix_are_read_like_files(reader: Reader, s3: S3Bucket) -> None:
    for name, text in [("2.csv", "x,at\n2,2013-02-01T00:00:00Z\n"), ("1.csv", "x,at\n01,2013-01-01T00:00:00Z\n")]:
        s3.write(f"raw/flights/{name}", text.encode())
        reader.write(f"data/{name}", text)
    s3.write("raw/flights_old/0.csv", b"other\n1\n")
    sources = s3_sources(s3.server)
    target = reader.base / "out" / "s3.parquet"
    snapshot = sources.snapshot(f"s3://{s3.name}/raw/flights", base=reader.base, target=target, until=None)
    assert [row["x"] for row in rows_of(snapshot)] == ["01", "2"]
    assert bytes_of(snapshot) == bytes_of(reader.snapshot("data"))
    assert [entry.name for entry in target.parent.iterdir()] == ["s3.parquet"]
    until = ("at", datetime(2013, 2, 1, tzinfo=UTC))
    uri = f"s3://{s3.name}/raw/flights/"
    assert sources.snapshot(uri, base=reader.base, target=target, until=until).rows == 1
    uri = f"s3://{s3.name}/raw/flights/2.csv"
    assert rows_of(sources.snapshot(uri, base=reader.base, target=target, until=None))[0]["x"] == 2


def test_parquet_objects_are_read(reader: Reader, s3: S3Bucket) -> None:
    reader.table("a.parquet", {"x": [1, 2]})
    s3.write("data/a.parquet", (reader.base / "a.parquet").read_bytes())
    uri = f"s3://{s3.name}/data"
    snapshot = s3_sources(s3.server).snapshot(uri, base=reader.base, target=reader.base / "t", until=None)
    assert rows_of(snapshot) == [{"x": 1}, {"x": 2}]


def test_the_fingerprint_of_objects_follows_their_content(reader: Reader, s3: S3Bucket) -> None:
    sources = s3_sources(s3.server)

    def fingerprint() -> str | None:
        return sources.fingerprint(f"s3://{s3.name}/data", base=reader.base)

    s3.write("data/a.csv", b"x\n1\n")
    first = fingerprint()
    assert first == fingerprint()
    s3.write("data/a.csv", b"x\n2\n")
    changed = fingerprint()
    s3.write("data/b.csv", b"x\n1\n")
    assert len({first, changed, fingerprint()}) == 3


def test_objects_that_cannot_be_read_are_refused(reader: Reader, s3: S3Bucket) -> None:
    s3.write("data/flights/a.csv", b"x\n1\n")
    s3.write("data/mixed/a.csv", b"x\n1\n")
    s3.write("data/mixed/b.txt", b"x\n1\n")
    s3.write("data/ragged/a.csv", b"x,y\n1\n")

    def refusal(prefix: str) -> str:
        with pytest.raises(BadInput) as caught:
            s3_sources(s3.server).snapshot(
                f"s3://{s3.name}/{prefix}", base=reader.base, target=reader.base / "out" / "t", until=None
            )
        assert list((reader.base / "out").iterdir()) == []
        return str(caught.value)

    assert "no object 'data/flihgts' and none below it. Did you mean data/flights?" in refusal("data/flihgts")
    assert f"s3://{s3.name}/data/mixed/b.txt is not of a format that can be read (.txt)" in refusal("data/mixed")
    assert f"s3://{s3.name}/data/ragged/a.csv, line 2: 1 fields" in refusal("data/ragged")


def test_a_bucket_that_is_not_there_is_misconfigured(reader: Reader, s3: S3Bucket) -> None:
    with pytest.raises(Misconfigured, match="has no bucket 'absent-bucket'"):
        s3_sources(s3.server).snapshot("s3://absent-bucket/x", base=reader.base, target=reader.base / "t", until=None)
    with pytest.raises(BadInput, match="names no bucket"):
        s3_sources(s3.server).fingerprint("s3:///x", base=reader.base)


def test_an_s3_that_does_not_answer_is_unreachable(reader: Reader) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        server = S3Server(
            endpoint=f"http://127.0.0.1:{probe.getsockname()[1]}", access_key="a", secret_key="b", enforces=True
        )
        with pytest.raises(Unreachable, match="does not answer"):
            s3_sources(server).snapshot("s3://b/x", base=reader.base, target=reader.base / "t", until=None)
