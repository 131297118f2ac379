"""The lake in an object store, on a server that speaks S3."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import httpx
import pytest

from profile_pipelines.errors import Conflict
from profile_pipelines_tests.company import Company, catalogue, stamp

ACTIVE = {"active": {"where": {"status": {"is": "active"}}}}


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    """The address of a server that speaks S3.

    A process of its own: deltalake holds the interpreter's lock while it reads a table's history.
    """
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        address = f"http://127.0.0.1:{port}"
        retries = httpx.HTTPTransport(retries=8)
        with httpx.Client(transport=retries) as client:
            client.get(f"{address}/moto-api/")
        yield address
        server.terminate()


@pytest.fixture
def company(s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Company:
    """A company whose lake is a bucket, reached by nothing but the usual variables."""
    for name, value in {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    bucket = tmp_path.name.replace("_", "-")[:60]
    boto3.client("s3").create_bucket(Bucket=bucket)
    declared = {**catalogue(("crm",), ("status", "tier")), "audiences": ACTIVE}
    company = Company(tmp_path, declared, lake=f"s3://{bucket}/lake")
    for number in "123":
        company.put(
            "crm", number, no=f"C-{number}", changed=stamp(-5), status="active", tier="silver"
        )
    return company


def _objects(company: Company) -> set[str]:
    return {str(path) for path in company.lake.rglob("*")}


def test_the_whole_path_runs_in_a_bucket(company: Company) -> None:
    """Runs write, write nothing when nothing changed, follow a change, and compact."""
    company.run()
    assert company.profile("C-2") == {"status": "active", "tier": "silver"}
    before = _objects(company)
    assert any(name.endswith(".parquet") for name in before)
    assert not (company.folder / "lake").exists()
    company.run()
    assert _objects(company) == before
    company.put("crm", "2", no="C-2", changed=stamp(0), status="churned")
    company.run()
    assert company.profile("C-2")["status"] == "churned"
    assert len(company.customers.members("active").to_arrow()) == 2
    profiles = company.workspace.lake.profiles(company.workspace.catalogue)
    assert profiles.pin().compact(company.workspace.lake.engine, force=True)
    assert company.profile("C-2")["status"] == "churned"


def test_of_two_writers_to_a_bucket_one_conflicts(company: Company) -> None:
    """The later of two commits from the same state is refused."""
    company.sync("crm")
    table = company.workspace.lake.source(company.workspace.catalogue, "crm", "people")
    slow, fast = table.pin(), table.pin()
    engine = company.workspace.lake.engine
    told = {"now": company.now, "run_id": "r"}
    fast.commit(engine, None, state={"who": "fast"}, **told)
    with pytest.raises(Conflict):
        slow.commit(engine, None, state={"who": "slow"}, **told)
    assert table.pin().state["who"] == "fast"
