"""Content-addressed objects in a bucket of any S3 service, read through a local cache that is verified each time."""

from __future__ import annotations

from pathlib import Path

from towpath.adapters.objects_local import LocalObjects, relative_name, tampered
from towpath.adapters.s3_client import Bucket, S3Settings
from towpath.core.digest import PREFIX, of_file
from towpath.core.errors import IntegrityError, NotFound

_DIGEST_KEY = "sha256"


class S3Objects:
    """The `Objects` port over `s3://bucket/prefix/ab/cdef…`.

    `cache` is a local folder of the same layout; what it holds is verified against the digest before it is used.
    """

    def __init__(self, bucket: str, prefix: str, *, settings: S3Settings, cache: Path) -> None:
        self._bucket = Bucket(bucket, settings)
        self._prefix = prefix.strip("/")
        self._cache = LocalObjects(cache)

    def put(self, file: Path) -> str:
        """Store the file's bytes and return their digest; an object not known to be the same is uploaded again.

        The upload reads the cache's copy, which cannot change after its digest was taken.
        """
        digest = self._cache.put(file)
        copy = self._cache.fetch(digest)
        name = digest.removeprefix(PREFIX)
        stored = self._bucket.head(self._key(digest))
        if stored is None or stored.size != copy.stat().st_size or stored.metadata.get(_DIGEST_KEY) != name:
            self._bucket.upload(copy, self._key(digest), metadata={_DIGEST_KEY: name})
        return digest

    def fetch(self, digest: str) -> Path:
        """A local, read-only file with exactly those bytes: the cache's, else downloaded and verified.

        Raises `NotFound`, `IntegrityError` when the bucket's bytes have changed, `Unreachable`, `Misconfigured`.
        """
        try:
            return self._cache.fetch(digest)
        except NotFound:
            pass
        except IntegrityError:
            self._cache.drop(digest)
        return self._download(digest)

    def has(self, digest: str) -> bool:
        """Whether the bucket (not the cache) holds an object of that name."""
        return self._bucket.head(self._key(digest)) is not None

    def remove(self, digest: str) -> bool:
        """Remove an object for good, from the bucket and from this machine's cache; whether the bucket had it."""
        there = self.has(digest)
        self._bucket.delete(self._key(digest))
        self._cache.drop(digest)
        return there

    def _download(self, digest: str) -> Path:
        key = self._key(digest)
        where = f"s3://{self._bucket.name}/{key}"
        with self._cache.incoming() as temporary:
            if not self._bucket.download(key, temporary):
                raise NotFound(
                    f"No object {where}.",
                    value=digest,
                    hint="Run the stage that makes it again, or mend the bucket or prefix of the object store.",
                )
            found = of_file(temporary)
            if found != digest:
                raise tampered(digest, found, where=where)
            return self._cache.adopt(temporary, digest)

    def _key(self, digest: str) -> str:
        name = relative_name(digest)
        return f"{self._prefix}/{name}" if self._prefix else name
