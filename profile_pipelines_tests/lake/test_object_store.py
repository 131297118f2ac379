"""The lake in an object store: a server that speaks S3, or Azurite (`make test-live`)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import s3fs

from profile_pipelines.errors import Conflict
from profile_pipelines.lake.upkeep import merge_small_files, sweep
from profile_pipelines_tests.company import Company, catalogue, stamp

ACTIVE = {"active": {"where": {"status": {"is": "active"}}}}


@pytest.fixture(params=["s3", pytest.param("azure", marks=pytest.mark.live)])
def bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a fresh bucket, which nothing but the usual variables open."""
    if request.param == "azure":
        pytest.importorskip("adlfs", reason="make test-live installs the extra `azure`")
    bucket, options = request.getfixturevalue(f"{request.param}_bucket")
    for name, value in options.items():
        monkeypatch.setenv(name.upper(), value)
    if request.param == "s3":
        # one that an earlier test has made knows other credentials, or none
        s3fs.S3FileSystem.clear_instance_cache()
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        monkeypatch.setenv("AWS_DEFAULT_REGION", options["aws_region"])
    else:
        monkeypatch.setenv("AZURE_ALLOW_HTTP", "true")
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", _connection_string(options))
    return bucket


def _connection_string(options: dict[str, str]) -> str:
    parts = {
        "DefaultEndpointsProtocol": "http",
        "AccountName": options["azure_storage_account_name"],
        "AccountKey": options["azure_storage_account_key"],
        "BlobEndpoint": options["azure_storage_endpoint"],
    }
    return ";".join(f"{name}={value}" for name, value in parts.items())


@pytest.fixture
def company(bucket: str, tmp_path: Path) -> Company:
    """A company whose lake is a bucket."""
    declared = {**catalogue(("crm",), ("status", "tier")), "audiences": ACTIVE}
    company = Company(tmp_path, declared, lake=f"{bucket}/lake")
    for number in "123":
        company.put(
            "crm", number, no=f"C-{number}", changed=stamp(-5), status="active", tier="silver"
        )
    return company


def _objects(company: Company) -> set[str]:
    return {str(path) for path in company.lake.rglob("*")}


@pytest.mark.slow
def test_the_whole_path_runs_in_a_bucket(company: Company) -> None:
    """Runs write, write nothing when nothing changed, follow a change; upkeep works as well."""
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
    engine = company.workspace.lake.engine
    assert profiles.pin().compact(engine, force=True)
    assert merge_small_files(profiles, engine, many=1) == 1
    assert company.profile("C-2")["status"] == "churned"
    present = datetime.now(UTC)
    assert sweep(company.workspace.lake.root, before=present - timedelta(days=1)) == 0
    assert sweep(company.workspace.lake.root, before=present + timedelta(days=1)) == 1
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
