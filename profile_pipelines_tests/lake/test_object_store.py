"""The lake in an object store, on a server that speaks S3."""

from __future__ import annotations

from pathlib import Path

import pytest

from profile_pipelines.errors import Conflict
from profile_pipelines_tests.company import Company, catalogue, stamp

ACTIVE = {"active": {"where": {"status": {"is": "active"}}}}


@pytest.fixture
def company(
    s3_bucket: tuple[str, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Company:
    """A company whose lake is a bucket, reached by nothing but the usual variables."""
    bucket, options = s3_bucket
    for name, value in options.items():
        monkeypatch.setenv(name.upper(), value)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", options["aws_region"])
    declared = {**catalogue(("crm",), ("status", "tier")), "audiences": ACTIVE}
    company = Company(tmp_path, declared, lake=f"{bucket}/lake")
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
