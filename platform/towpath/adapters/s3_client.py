"""One bucket of any S3 service, through boto3, with what can go wrong told apart.

Nothing beyond the common core of S3 is used: no conditional writes, tags or versioning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from boto3.exceptions import Boto3Error, RetriesExceededError
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.exceptions import (
    ConnectionError as EndpointError,
)

from towpath.core.errors import Misconfigured, TowpathError, Unreachable

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

# These attempts multiply those of each request.
_TRANSFERS = TransferConfig(num_download_attempts=2)
_ABSENT = {"404", "NoSuchKey", "NotFound"}
_NO_BUCKET = {"NoSuchBucket"}
_TEMPORARY = {
    "SlowDown",
    "RequestTimeout",
    "ServiceUnavailable",
    "InternalError",
    "Throttling",
    "503",
    "500",
    "502",
    "504",
}
_HINTS = {
    "SignatureDoesNotMatch": "The secret key does not belong to the access key.",
    "InvalidAccessKeyId": "The service does not know this access key.",
    "ExpiredToken": "The session token has expired: get a new one.",
    "RequestTimeTooSkewed": "This machine's clock is wrong: set it.",
    "AuthorizationHeaderMalformed": "The region is probably not the bucket's: set it.",
    "PermanentRedirect": "The bucket is in another region: set its region.",
}
_DENIED = "Check the access key, the secret key and the rights on the bucket (list, read and write objects)."


@dataclass(frozen=True, kw_only=True)
class S3Settings:
    """How to reach an S3 service. What is None comes from boto3's own chain (environment, profile, instance role).

    Timeouts in seconds; `attempts` counts the first one.
    """

    endpoint: str | None = None
    region: str | None = None
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    connect_timeout: float = 3.0
    read_timeout: float = 30.0
    attempts: int = 3

    def __post_init__(self) -> None:
        if (self.access_key is None) != (self.secret_key is None):
            missing = "secret key" if self.secret_key is None else "access key"
            raise Misconfigured(f"S3 settings lack the {missing}.", hint="Give both keys, or neither.")


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """One object of a bucket: its key, its size in bytes, its ETag and the metadata it was stored with."""

    key: str
    size: int
    etag: str
    metadata: Mapping[str, str] = field(default_factory=dict)


class Bucket:
    """A bucket. Every method raises `Unreachable` (try again) or `Misconfigured` (mend something first)."""

    def __init__(self, name: str, settings: S3Settings) -> None:
        self.name = name
        self._settings = settings

    def head(self, key: str) -> StoredObject | None:
        """The object under that key, None when there is none."""
        with self._errors():
            try:
                found = self._client.head_object(Bucket=self.name, Key=key)
            except ClientError as error:
                if _code(error) not in _ABSENT:
                    raise
                self._require_bucket()
                return None
            return StoredObject(
                key=key, size=found["ContentLength"], etag=found["ETag"].strip('"'), metadata=found["Metadata"]
            )

    def upload(self, file: Path, key: str, *, metadata: Mapping[str, str]) -> None:
        """Store a file, in parts when it is large; it appears under its key whole or not at all."""
        with self._errors():
            self._client.upload_file(str(file), self.name, key, ExtraArgs={"Metadata": dict(metadata)})

    def download(self, key: str, target: Path) -> bool:
        """Write the object's bytes to `target`; False when there is no such object."""
        with self._errors():
            try:
                self._client.download_file(self.name, key, str(target), Config=_TRANSFERS)
            except ClientError as error:
                if _code(error) not in _ABSENT:
                    raise
                self._require_bucket()
                return False
            return True

    def delete(self, key: str) -> None:
        """Remove the object; one that is not there is no error."""
        with self._errors():
            try:
                self._client.delete_object(Bucket=self.name, Key=key)
            except ClientError as error:
                if _code(error) not in _ABSENT:
                    raise

    def objects(self, prefix: str, *, after: str = "") -> Iterator[StoredObject]:
        """The objects whose keys begin with `prefix` and come after `after`, in the order of their keys."""
        with self._errors():
            found: list[StoredObject] = []
            pages = self._client.get_paginator("list_objects_v2")
            given = (
                pages.paginate(Bucket=self.name, Prefix=prefix, StartAfter=after)
                if after
                else pages.paginate(Bucket=self.name, Prefix=prefix)
            )
            for page in given:
                found += [
                    StoredObject(key=item["Key"], size=item["Size"], etag=item["ETag"].strip('"'))
                    for item in page.get("Contents", [])
                    if item["Key"] > after  # some services take no notice of StartAfter
                ]
        yield from sorted(found, key=lambda item: item.key)

    @cached_property
    def _client(self) -> S3Client:
        settings = self._settings
        config = Config(
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.read_timeout,
            retries={"mode": "standard", "total_max_attempts": settings.attempts},
            # A service behind an endpoint of its own rarely answers to a bucket's host name.
            s3={"addressing_style": "path" if settings.endpoint else "auto"},
            # Newer boto3 adds checksum trailers that several S3 services do not understand.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        return boto3.session.Session().client(
            "s3",
            endpoint_url=settings.endpoint,
            region_name=settings.region,
            aws_access_key_id=settings.access_key,
            aws_secret_access_key=settings.secret_key,
            aws_session_token=settings.session_token,
            config=config,
        )

    def _require_bucket(self) -> None:
        """An answer to HEAD has no body, so a missing bucket looks like a missing object: ask for the bucket."""
        try:
            self._client.head_bucket(Bucket=self.name)
        except ClientError as error:
            if _code(error) in _ABSENT:
                raise self._no_bucket() from error
            raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, Boto3Error, ClientError, ValueError) as error:
            raise self._explain(error) from error

    def _explain(self, error: Exception) -> TowpathError:
        cause = _cause(error)
        where = self._settings.endpoint or "the default S3 endpoint"
        if isinstance(cause, ClientError):
            return self._answered(_code(cause), where)
        # connection refused, name unknown, timeout, broken connection
        if isinstance(cause, (EndpointError, HTTPClientError, IncompleteReadError)):
            return Unreachable(
                f"S3 at {where} does not answer ({type(cause).__name__}).",
                value=where,
                hint="Check the endpoint and the network, then try again.",
            )
        if isinstance(cause, (NoCredentialsError, PartialCredentialsError)):
            return Misconfigured(
                f"No S3 credentials for {where}.", value=where, hint="Give an access key and a secret key."
            )
        return Misconfigured(
            f"S3 at {where}, bucket {self.name!r}: {cause}", value=self.name, hint="Mend the S3 settings."
        )

    def _answered(self, code: str, where: str) -> TowpathError:
        if code in _NO_BUCKET:
            return self._no_bucket()
        if code in _TEMPORARY:
            return Unreachable(
                f"S3 at {where} is not able to answer now ({code}).", value=where, hint="Try again later."
            )
        return Misconfigured(
            f"S3 at {where} refuses access to bucket {self.name!r} ({code}).",
            value=self.name,
            hint=_HINTS.get(code, _DENIED),
        )

    def _no_bucket(self) -> Misconfigured:
        where = self._settings.endpoint or "the default S3 endpoint"
        return Misconfigured(
            f"S3 at {where} has no bucket {self.name!r}.", value=self.name, hint="Create the bucket, or mend its name."
        )


def _cause(error: Exception) -> Exception:
    """What lies behind an error: boto3's transfers wrap the service's answer in an error of their own."""
    if isinstance(error, RetriesExceededError):
        return getattr(error, "last_exception", None) or error
    chain = (error, error.__cause__, error.__context__)
    return next((one for one in chain if isinstance(one, (ClientError, BotoCoreError))), error)


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "unknown")
