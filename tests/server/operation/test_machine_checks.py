"""Which channels of the server leave the machine unencrypted, or to nobody knows whom."""

from pathlib import Path
from typing import Any

import pytest

from mushu.server.config import Settings
from mushu.server.core import Core
from mushu.server.operation.machine_checks import channels

OPEN = "postgresql+psycopg://mushu:hunter2@db.example.com/mushu"


def faults(tmp_path: Path, **settings: Any) -> str:
    """Return what `flask doctor` says about channels; empty where all is well."""
    (check,) = channels(Core(Settings(instance_path=tmp_path, **settings)))
    assert "hunter2" not in check.detail
    return "" if check.ok else check.detail


@pytest.mark.fault
@pytest.mark.parametrize(
    "url",
    [
        OPEN,
        f"{OPEN}?sslmode=prefer",
        f"{OPEN}?sslmode=require",
        f"{OPEN}?sslmode=disable",
        "postgresql://mushu@/mushu?host=db.example.com",
        "postgresql://mushu@/mushu?host=/run/postgresql,192.0.2.1",
        "postgresql://mushu@[2001:db8::1]/mushu",
        "postgresql://mushu@127.0.0.1.example.com/mushu",
    ],
)
def test_a_database_elsewhere_that_need_not_prove_itself_is_told(tmp_path: Path, url: str) -> None:
    assert "sslmode=verify-full" in faults(tmp_path, database_url=url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        f"{OPEN}?sslmode=verify-full",
        f"{OPEN}?sslmode=verify-ca",
        "postgresql://mushu:hunter2@127.0.0.1/mushu",
        "postgresql://mushu@localhost/mushu",
        "postgresql://mushu@[::1]/mushu",
        "postgresql:///mushu",
        "postgresql://mushu@/mushu?host=/run/postgresql",
    ],
)
def test_one_here_or_one_that_does_is_not(tmp_path: Path, url: str) -> None:
    assert faults(tmp_path, database_url=url) == ""


@pytest.mark.fault
def test_the_variables_of_libpq_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    assert faults(tmp_path, database_url=OPEN) == ""
    monkeypatch.delenv("PGSSLMODE")
    monkeypatch.setenv("PGHOST", "db.example.com")
    assert "sslmode" in faults(tmp_path, database_url="postgresql:///mushu")


@pytest.mark.fault
def test_a_store_of_media_over_http_is_told_unless_it_is_here(tmp_path: Path) -> None:
    bucket = {"media_s3_bucket": "media"}
    assert "MUSHU_MEDIA_S3_ENDPOINT" in faults(tmp_path, **bucket, media_s3_endpoint="http://minio.example.com:9000")
    for endpoint in ("", "https://minio.example.com", "http://127.0.0.1:9000", "http://[::1]:9000"):
        assert faults(tmp_path, **bucket, media_s3_endpoint=endpoint) == ""
