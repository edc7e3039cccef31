"""The same path on PostgreSQL and S3: the same candidate, digest for digest, as on SQLite and files."""

from __future__ import annotations

from pathlib import Path

import pytest

from path import small
from path.trail import Trail
from servers.s3 import S3Server
from towpath.core.errors import IntegrityError, NotFound
from towpath.core.evidence import RecordKind
from towpath.core.gates import Stage
from towpath.path import ORDER
from towpath.stages.work import champion


@pytest.mark.slow
def test_the_path_on_postgres_and_s3_gives_the_same_candidate(
    trail: Trail, tmp_path: Path, postgres_database: str, rclone_s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = rclone_s3.new_bucket()
    for name, value in {
        "AWS_ACCESS_KEY_ID": rclone_s3.access_key,
        "AWS_SECRET_ACCESS_KEY": rclone_s3.secret_key,
    }.items():
        monkeypatch.setenv(name, value)
    services = {
        "TOWPATH_LEDGER": postgres_database,
        "TOWPATH_OBJECTS": f"s3://{bucket.name}/flights",
        "TOWPATH_S3_ENDPOINT": rclone_s3.endpoint,
        "TOWPATH_S3_REGION": "us-east-1",
    }
    first, second = small.Heard(), small.Heard()
    with small.opened(trail.project, tmp_path / "state", progress=first, environment=services) as work:
        candidate = small.walk(work)
        small.crown(candidate, work)
        assert candidate.digest == trail.candidate.digest
        assert first.computed == list(ORDER)
        assert [record.digest for record in small.records(work.ports.ledger, RecordKind.ENTRY)] == [
            entry.digest for entry in trail.candidate.entries
        ]
        assert work.ports.ledger.verify().whole
    assert not (tmp_path / "state" / "ledger.db").exists()
    assert not (tmp_path / "state" / "objects").exists()
    subjects = [subject for entry in candidate.entries for subject in entry.subjects if subject.size is not None]
    stored = {key.removeprefix("flights/").replace("/", "") for key in bucket.listing()}
    assert {subject.digest.removeprefix("sha256:") for subject in subjects} <= stored

    # Another machine, with nothing but the services and the models: everything is there already.
    elsewhere = {**services, "TOWPATH_MLFLOW": f"sqlite:///{tmp_path / 'state' / 'mlflow.db'}"}
    with small.opened(trail.project, tmp_path / "elsewhere", progress=second, environment=elsewhere) as work:
        assert small.walk(work).digest == trail.candidate.digest
        assert second.computed == []
        found = champion(work.ports.ledger, work.name)
        assert found is not None
        assert found.candidate.digest == trail.candidate.digest


@pytest.mark.slow
def test_an_object_that_changed_in_s3_is_refused(
    trail: Trail, tmp_path: Path, rclone_s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = rclone_s3.new_bucket()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", rclone_s3.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", rclone_s3.secret_key)
    services = {
        "TOWPATH_OBJECTS": f"s3://{bucket.name}",
        "TOWPATH_S3_ENDPOINT": rclone_s3.endpoint,
        "TOWPATH_S3_REGION": "us-east-1",
    }
    with small.opened(trail.project, tmp_path / "state", environment=services) as work:
        candidate = small.walk(work, until=Stage.INGEST)
        dataset = candidate.entry(Stage.INGEST).subject("dataset", "planes")
        (key,) = [key for key in bucket.listing() if key.replace("/", "") == dataset.digest.removeprefix("sha256:")]
    with small.opened(trail.project, tmp_path / "elsewhere", environment=services) as work:
        bucket.write(key, bucket.read(key)[:-1] + b"!")
        with pytest.raises(IntegrityError) as caught:
            work.ports.objects.fetch(dataset.digest)
        assert caught.value.gate == "integrity.data"
        bucket.delete(key)
        with pytest.raises(NotFound):
            work.ports.objects.fetch(dataset.digest)
