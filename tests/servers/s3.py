"""Two real S3 servers for a test session, and a bucket of its own for each test that asks.

`rclone serve s3` enforces signatures and has neither conditional writes nor versioning; moto's server accepts any key.
Both listen on a free port of the loopback address that the system chose.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_START_SECONDS = 60
_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """A running server. `enforces` says whether it refuses keys it does not know."""

    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)
    enforces: bool

    def client(self) -> S3Client:
        """A plain boto3 client, to look at the server's objects without the code under test."""
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def new_bucket(self) -> S3Bucket:
        """An empty bucket."""
        bucket = S3Bucket(server=self, name=f"test-{uuid.uuid4().hex}")
        self.client().create_bucket(Bucket=bucket.name)
        return bucket


@dataclass(frozen=True, kw_only=True)
class S3Bucket:
    """An empty bucket of a server."""

    server: S3Server
    name: str

    def write(self, key: str, body: bytes) -> None:
        self.server.client().put_object(Bucket=self.name, Key=key, Body=body)

    def read(self, key: str) -> bytes:
        return self.server.client().get_object(Bucket=self.name, Key=key)["Body"].read()

    def delete(self, key: str) -> None:
        self.server.client().delete_object(Bucket=self.name, Key=key)

    def listing(self) -> list[str]:
        listing = self.server.client().list_objects_v2(Bucket=self.name)
        return sorted(item["Key"] for item in listing.get("Contents", []))


@pytest.fixture(scope="session")
def rclone_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """`rclone serve s3` over an empty folder."""
    folder = tmp_path_factory.mktemp("rclone-s3")
    (folder / "buckets").mkdir()
    access, secret = f"AK{uuid.uuid4().hex[:16]}", uuid.uuid4().hex
    options = ["--config", "", "--addr", "127.0.0.1:0", "--auth-key", f"{access},{secret}"]
    command = [_program("rclone"), "serve", "s3", *options, str(folder / "buckets")]
    with _running(command, folder) as endpoint:
        yield S3Server(endpoint=endpoint, access_key=access, secret_key=secret, enforces=True)


@pytest.fixture(scope="session")
def moto_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """moto's server, its objects in memory."""
    command = [_program("moto_server"), "-H", "127.0.0.1", "-p", "0"]
    with _running(command, tmp_path_factory.mktemp("moto-s3")) as endpoint:
        yield S3Server(endpoint=endpoint, access_key="any", secret_key="any", enforces=False)


@pytest.fixture(params=["rclone", "moto"])
def s3(request: pytest.FixtureRequest) -> S3Bucket:
    """An empty bucket, on each of the servers in turn."""
    server: S3Server = request.getfixturevalue(f"{request.param}_s3")
    return server.new_bucket()


def _program(name: str) -> str:
    """The path of a program installed beside this Python."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is not installed. Install the project's dev group to run these tests.", pytrace=False)
    return found


@contextmanager
def _running(command: list[str], folder: Path) -> Iterator[str]:
    """The address of a server that runs meanwhile; it ends with the tests even if they are killed."""
    log = folder / "log"
    tied = ["setpriv", "--pdeathsig=TERM", "--"] if shutil.which("setpriv") else []
    with log.open("wb") as output:
        server = subprocess.Popen([*tied, *command], stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        yield _address(server, log, command[0])
    finally:
        server.terminate()
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(timeout=10)


def _address(server: subprocess.Popen[bytes], log: Path, name: str) -> str:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        said = log.read_text(errors="replace")
        if found := _ADDRESS.search(said):
            return found.group()
        if server.poll() is not None:
            pytest.fail(f"{name} ended with {server.returncode} instead of starting: {said}", pytrace=False)
        time.sleep(0.05)
    pytest.fail(f"{name} did not say its address within {_START_SECONDS} s.", pytrace=False)
