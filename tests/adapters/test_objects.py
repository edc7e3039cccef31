"""One behaviour for every object store: a folder and two S3 services."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from servers.s3 import S3Bucket, S3Server
from towpath.adapters.objects_local import LocalObjects
from towpath.adapters.objects_s3 import S3Objects
from towpath.adapters.s3_client import S3Settings
from towpath.core.errors import BadInput, IntegrityError, Misconfigured, NotFound, Unreachable, Unwritable
from towpath.ports import Objects

_ABSENT = "sha256:" + "0" * 64


@dataclass(frozen=True, kw_only=True)
class Store:
    """A store under test, and the way to its stored bytes behind its back.

    `fresh` opens it as another machine would, without a cache.
    """

    objects: Objects
    fresh: Callable[[], Objects]
    stored: Callable[[], list[str]]
    read: Callable[[str], bytes]
    write: Callable[[str, bytes], None]


def settings_of(server: S3Server) -> S3Settings:
    return S3Settings(
        endpoint=server.endpoint, region="us-east-1", access_key=server.access_key, secret_key=server.secret_key
    )


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def place_of(data: bytes) -> str:
    name = hashlib.sha256(data).hexdigest()
    return f"{name[:2]}/{name[2:]}"


def local_store(root: Path) -> Store:
    def write(place: str, data: bytes) -> None:
        (root / place).chmod(0o644)
        (root / place).write_bytes(data)

    return Store(
        objects=LocalObjects(root),
        fresh=lambda: LocalObjects(root),
        stored=lambda: sorted(file.relative_to(root).as_posix() for file in root.glob("??/*")),
        read=lambda place: (root / place).read_bytes(),
        write=write,
    )


def s3_store(bucket: S3Bucket, folder: Path) -> Store:
    caches = iter(range(100))

    def fresh() -> Objects:
        cache = folder / f"cache-{next(caches)}"
        return S3Objects(bucket.name, "objects", settings=settings_of(bucket.server), cache=cache)

    return Store(
        objects=fresh(),
        fresh=fresh,
        stored=lambda: [key.removeprefix("objects/") for key in bucket.listing()],
        read=lambda place: bucket.read(f"objects/{place}"),
        write=lambda place, data: bucket.write(f"objects/{place}", data),
    )


@pytest.fixture(params=["local", "rclone", "moto"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return local_store(tmp_path / "objects")
    server: S3Server = request.getfixturevalue(f"{request.param}_s3")
    return s3_store(server.new_bucket(), tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file.bin"
    path.write_bytes(b"some bytes\n" * 1000)
    return path


def test_put_stores_the_bytes_under_their_digest_and_fetch_returns_them(store: Store, file: Path) -> None:
    data = file.read_bytes()
    digest = store.objects.put(file)
    assert digest == digest_of(data)
    assert store.stored() == [place_of(data)]
    assert store.read(place_of(data)) == data
    for objects in (store.objects, store.fresh()):
        fetched = objects.fetch(digest)
        assert fetched.read_bytes() == data
        assert fetched.stat().st_mode & 0o777 == 0o444


def test_a_second_put_does_nothing(store: Store, file: Path) -> None:
    digest = store.objects.put(file)
    before = store.objects.fetch(digest).stat()
    assert store.objects.put(file) == digest
    assert store.fresh().put(file) == digest
    after = store.objects.fetch(digest).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert len(store.stored()) == 1


def test_has_tells_what_is_stored(store: Store, file: Path) -> None:
    assert not store.objects.has(digest_of(file.read_bytes()))
    digest = store.objects.put(file)
    assert store.objects.has(digest)
    assert store.fresh().has(digest)
    assert not store.objects.has(_ABSENT)


def test_what_is_removed_is_gone_and_can_be_stored_again(store: Store, file: Path) -> None:
    digest = store.objects.put(file)
    store.objects.fetch(digest)
    assert store.objects.remove(digest)
    assert not store.objects.has(digest)
    with pytest.raises(NotFound):
        store.objects.fetch(digest)
    assert not store.objects.remove(digest)
    assert store.objects.put(file) == digest
    assert store.objects.fetch(digest).read_bytes() == file.read_bytes()


def test_an_empty_file_is_an_object_too(store: Store, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    assert store.fresh().fetch(store.objects.put(empty)).read_bytes() == b""


def test_a_file_of_several_parts_comes_back_whole(store: Store, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(os.urandom(20 << 20))  # boto3 uploads in parts from 8 MiB on
    assert store.fresh().fetch(store.objects.put(large)).read_bytes() == large.read_bytes()


def test_what_is_not_there_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound, match=r"0{62}"):
        store.objects.fetch(_ABSENT)


@pytest.mark.parametrize("change", [b"other", b"", None], ids=["another length", "cut to nothing", "one byte"])
def test_changed_bytes_are_found_and_named(store: Store, file: Path, change: bytes | None) -> None:
    data = file.read_bytes()
    changed = b"X" + data[1:] if change is None else change
    digest = store.objects.put(file)
    store.write(place_of(data), changed)
    with pytest.raises(IntegrityError) as caught:
        store.fresh().fetch(digest)
    assert caught.value.gate == "integrity.data"
    assert f"expected {digest}, found {digest_of(changed)}" in str(caught.value)
    assert caught.value.value == digest_of(changed)


def test_putting_the_right_bytes_again_repairs_the_object(store: Store, file: Path) -> None:
    data = file.read_bytes()
    digest = store.objects.put(file)
    for changed in (b"short", b"X" + data[1:]):
        store.write(place_of(data), changed)
        assert store.fresh().put(file) == digest
        assert store.read(place_of(data)) == data
        assert store.fresh().fetch(digest).read_bytes() == data


@pytest.mark.parametrize(
    "digest", ["", "sha256:abc", "md5:" + "0" * 64, "sha256:" + "../" * 21 + "x", "sha256:" + "A" * 64]
)
def test_only_digests_name_objects(store: Store, digest: str) -> None:
    with pytest.raises(BadInput, match="64 lower-case hex digits"):
        store.objects.fetch(digest)
    with pytest.raises(BadInput, match="64 lower-case hex digits"):
        store.objects.has(digest)


def test_only_files_can_be_put(store: Store, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="No such file"):
        store.objects.put(tmp_path / "missing")
    with pytest.raises(BadInput, match="Is a directory"):
        store.objects.put(tmp_path)


def test_concurrent_puts_of_one_file_leave_one_whole_object(store: Store, file: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        digests = set(pool.map(lambda _: store.objects.put(file), range(8)))
    assert digests == {digest_of(file.read_bytes())}
    assert store.stored() == [place_of(file.read_bytes())]
    assert store.fresh().fetch(digests.pop()).read_bytes() == file.read_bytes()


# --- a folder ---------------------------------------------------------------------------------------------------------

_PUT_AND_DIE = """
import os, signal, sys
from pathlib import Path
from towpath.adapters.objects_local import LocalObjects

call, root, file = sys.argv[1:]
real = getattr(os, call)

def dies(*args, **kwargs):
    if call == "fsync":
        real(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(os, call, dies)
LocalObjects(Path(root)).put(Path(file))
"""


@pytest.mark.parametrize("call", ["fchmod", "fsync", "replace"])
def test_a_put_killed_between_two_steps_leaves_no_object(tmp_path: Path, file: Path, call: str) -> None:
    root = tmp_path / "objects"
    killed = subprocess.run([sys.executable, "-c", _PUT_AND_DIE, call, str(root), str(file)], env=_environment())
    assert killed.returncode == -signal.SIGKILL
    objects = LocalObjects(root)
    digest = digest_of(file.read_bytes())
    assert not objects.has(digest)
    assert len(list((root / ".incoming").iterdir())) == 1
    assert objects.put(file) == digest
    assert objects.fetch(digest).read_bytes() == file.read_bytes()


def test_a_put_killed_while_it_writes_leaves_nothing_wrong(tmp_path: Path) -> None:
    root, large = tmp_path / "objects", tmp_path / "large"
    large.write_bytes(os.urandom(64 << 20))
    code = "import sys; from pathlib import Path; from towpath.adapters.objects_local import LocalObjects\n"
    code += "LocalObjects(Path(sys.argv[1])).put(Path(sys.argv[2]))"
    writer = subprocess.Popen([sys.executable, "-c", code, str(root), str(large)], env=_environment())
    deadline = time.monotonic() + 60
    while not any(entry.stat().st_size for entry in (root / ".incoming").glob("*")) and writer.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    writer.kill()
    writer.wait()
    objects = LocalObjects(root)
    digest = digest_of(large.read_bytes())
    stored = [path for path in root.rglob("*") if path.is_file() and path.parent.name != ".incoming"]
    assert all(digest_of(path.read_bytes()) == f"sha256:{path.parent.name}{path.name}" for path in stored)
    assert objects.put(large) == digest
    assert objects.fetch(digest).read_bytes() == large.read_bytes()


def test_leftovers_of_killed_writers_are_swept_and_those_of_living_ones_are_not(tmp_path: Path, file: Path) -> None:
    incoming = tmp_path / "objects" / ".incoming"
    incoming.mkdir(parents=True)
    (incoming / "living").write_bytes(b"half")
    (incoming / "left").write_bytes(b"half")
    os.utime(incoming / "left", (time.time() - 7200, time.time() - 7200))
    LocalObjects(tmp_path / "objects").put(file)
    assert [entry.name for entry in incoming.iterdir()] == ["living"]


def test_a_folder_that_cannot_be_made_is_unwritable(tmp_path: Path, file: Path) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be")
    with pytest.raises(Unwritable, match=r"taken/objects: Not a directory\. .*choose another folder"):
        LocalObjects(tmp_path / "taken" / "objects").put(file)


_PUT_SMALL_DISK = """
import resource, sys
from pathlib import Path
from towpath.adapters.objects_local import LocalObjects
from towpath.core.errors import Unwritable

resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    LocalObjects(Path(sys.argv[1])).put(Path(sys.argv[2]))
except Unwritable as error:
    sys.exit(str(error))
"""


def test_a_disk_that_takes_no_more_is_unwritable_and_nothing_is_left(tmp_path: Path, file: Path) -> None:
    root = tmp_path / "objects"
    command = [sys.executable, "-c", _PUT_SMALL_DISK, str(root), str(file)]
    refused = subprocess.run(command, env=_environment(), capture_output=True, text=True)
    assert refused.returncode == 1
    assert f"Cannot write to the object folder {root}: File too large." in refused.stderr
    assert [path for path in root.rglob("*") if path.is_file()] == []


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}


# --- S3 ---------------------------------------------------------------------------------------------------------------


def test_a_corrupt_cache_is_read_again_from_the_bucket(s3: S3Bucket, tmp_path: Path, file: Path) -> None:
    objects = S3Objects(s3.name, "", settings=settings_of(s3.server), cache=tmp_path / "cache")
    digest = objects.put(file)
    cached = objects.fetch(digest)
    cached.chmod(0o644)
    cached.write_bytes(b"corrupt")
    assert objects.fetch(digest).read_bytes() == file.read_bytes()


def test_the_cache_serves_without_the_bucket(s3: S3Bucket, tmp_path: Path, file: Path) -> None:
    objects = S3Objects(s3.name, "", settings=settings_of(s3.server), cache=tmp_path / "cache")
    digest = objects.put(file)
    s3.delete(place_of(file.read_bytes()))
    assert objects.fetch(digest).read_bytes() == file.read_bytes()
    assert not objects.has(digest)


def test_a_bucket_that_does_not_exist_is_misconfigured(s3: S3Bucket, tmp_path: Path, file: Path) -> None:
    objects = S3Objects("no-such-bucket", "", settings=settings_of(s3.server), cache=tmp_path / "cache")
    acts: list[Callable[[], object]] = [
        lambda: objects.put(file),
        lambda: objects.has(_ABSENT),
        lambda: objects.fetch(_ABSENT),
    ]
    for act in acts:
        with pytest.raises(Misconfigured, match=r"has no bucket 'no-such-bucket'\. Create the bucket"):
            act()


@pytest.mark.parametrize("wrong", ["secret_key", "access_key"])
def test_keys_that_are_refused_are_misconfigured(rclone_s3: S3Server, tmp_path: Path, file: Path, wrong: str) -> None:
    bucket = rclone_s3.new_bucket().name
    server = replace(rclone_s3, secret_key="wrong") if wrong == "secret_key" else replace(rclone_s3, access_key="wrong")
    objects = S3Objects(bucket, "", settings=settings_of(server), cache=tmp_path / "cache")
    with pytest.raises(Misconfigured, match=f"refuses access to bucket '{bucket}'") as caught:
        objects.put(file)
    assert "key" in caught.value.hint
    assert rclone_s3.secret_key not in str(caught.value)
    with pytest.raises(Misconfigured, match="refuses access"):
        objects.fetch(_ABSENT)


def test_no_credentials_at_all_are_misconfigured(
    rclone_s3: S3Server, tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    settings = S3Settings(endpoint=rclone_s3.endpoint, region="us-east-1")
    with pytest.raises(Misconfigured, match="No S3 credentials"):
        S3Objects("any", "", settings=settings, cache=tmp_path / "cache").put(file)


def test_an_endpoint_where_nothing_listens_is_unreachable(tmp_path: Path, file: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{probe.getsockname()[1]}"
        settings = S3Settings(endpoint=endpoint, region="us-east-1", access_key="a", secret_key="b", attempts=2)
        with pytest.raises(Unreachable, match=f"S3 at {endpoint} does not answer") as caught:
            S3Objects("bucket", "", settings=settings, cache=tmp_path / "cache").put(file)
    assert caught.value.temporary


def test_an_endpoint_that_accepts_and_never_answers_is_unreachable_soon(tmp_path: Path, file: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        settings = S3Settings(
            endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}",
            region="us-east-1",
            access_key="a",
            secret_key="b",
            read_timeout=0.3,
            attempts=1,
        )
        start = time.monotonic()
        with pytest.raises(Unreachable, match="ReadTimeout"):
            S3Objects("bucket", "", settings=settings, cache=tmp_path / "cache").fetch(_ABSENT)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("endpoint", ["not a url", "127.0.0.1:9000"])
def test_an_endpoint_that_is_no_url_is_misconfigured(tmp_path: Path, file: Path, endpoint: str) -> None:
    settings = S3Settings(endpoint=endpoint, region="us-east-1", access_key="a", secret_key="b")
    with pytest.raises(Misconfigured):
        S3Objects("bucket", "", settings=settings, cache=tmp_path / "cache").put(file)


def test_settings_hide_their_secrets_and_want_both_keys() -> None:
    settings = S3Settings(access_key="known", secret_key="hidden-1", session_token="hidden-2")
    assert "known" in repr(settings)
    assert "hidden" not in repr(settings)
    with pytest.raises(Misconfigured, match="lack the secret key"):
        S3Settings(access_key="alone")
    with pytest.raises(Misconfigured, match="lack the access key"):
        S3Settings(secret_key="alone")
