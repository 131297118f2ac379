"""Reading a catalogue folder."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from profile_pipelines.catalog.load import load_catalogue
from profile_pipelines.catalog.models import Attribute, Audience, Identifier, Settings
from profile_pipelines.catalog.starter_files import write_starter
from profile_pipelines.catalog.systems import SourceField, Sync, System
from profile_pipelines.errors import CatalogueError
from profile_pipelines_tests.catalog.folders import VALID, attr, crm, mistakes_in, write_catalogue


def test_small_catalogue(tmp_path: Path):
    """Files become declarations by name."""
    catalogue = load_catalogue(write_catalogue(tmp_path))
    assert list(catalogue.attributes) == ["tier", "points"]
    assert list(catalogue.systems) == ["crm"]
    assert catalogue.settings.timezone == "UTC"
    contacts = catalogue.systems["crm"].syncs["contacts"]
    assert contacts.attributes["tier"] == SourceField(field="tier")


def test_attributes_may_be_spread(tmp_path: Path):
    """attributes.yaml and the files in attributes/ are one."""
    first, second = VALID["attributes.yaml"].split("points:")
    files = {"attributes.yaml": first, "attributes/more.yaml": f"points:{second}"}
    catalogue = load_catalogue(write_catalogue(tmp_path, **files))
    assert set(catalogue.attributes) == {"tier", "points"}


def test_what_is_left_alone(tmp_path: Path):
    """Other files and hidden folders aren't read."""
    files = {"README.md": "]", ".git/x.yaml": "]", "sources/.x.yaml": "]"}
    assert mistakes_in(write_catalogue(tmp_path, **files)) == []


def test_valid_rules_are_typed(tmp_path: Path):
    """Bounds and choices take the Python type of their attribute."""
    rules = {
        "date": ("{min: 2000-01-01, max: '2030-12-31'}", date(2000, 1, 1), date(2030, 12, 31)),
        "decimal": ("{min: 0, max: 99.9}", Decimal(0), Decimal("99.9")),
        "timestamp": (
            "{min: 2000-01-01, max: 2030-12-31T01:00:00+01:00}",
            datetime(2000, 1, 1, tzinfo=UTC),
            datetime(2030, 12, 31, tzinfo=UTC),
        ),
    }
    for name, (text, low, high) in rules.items():
        files = attr("type: string", f"type: {name}\n  valid: {text}")
        valid = load_catalogue(write_catalogue(tmp_path, **files)).attributes["tier"].valid
        assert (valid.min, valid.max) == (low, high)
        assert type(valid.min) is type(low)


@pytest.mark.parametrize("exists", [True, False])
def test_no_catalogue(tmp_path: Path, exists: bool):
    """A folder that isn't there or is empty leads to `init`."""
    folder = tmp_path / "catalog"
    if exists:
        folder.mkdir()
    with pytest.raises(CatalogueError, match="profile-pipelines init"):
        load_catalogue(folder)


def test_nothing_declared(tmp_path: Path):
    """A catalogue without identifiers, attributes or systems says what is wanted."""
    (tmp_path / "catalogue.yaml").write_text("timezone: UTC\n")
    assert [line.split(": ")[0] for line in mistakes_in(tmp_path)] == [
        "attributes.yaml:1",
        "identifiers.yaml:1",
        "sources:1",
    ]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://reader:hunter2@db.example.com/crm",
        "postgresql+psycopg2://reader:hunt%40er2/hunter2@db/crm",
        "mssql+pyodbc:///?odbc_connect=UID%3Dme%3BPWD%3Dhunter2",
        "mysql://db/crm?user=me&password=hunter2",
        "snowflake://me:123456@account/db",
    ],
)
def test_password_in_url(tmp_path: Path, url: str):
    """A URL that holds a password is refused, and not repeated."""
    found = mistakes_in(write_catalogue(tmp_path, **crm("{env: CRM_URL}", f'"{url}"')))
    assert [line.split(": ")[1] for line in found] == ["connection.url"]
    assert "{env: NAME}" in found[0]
    assert "hunter2" not in found[0]


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///crm.db",
        "postgresql://db:5432/crm?application_name=a@b",
        "postgresql://reader@db.example.com/crm",
        "sqlite:///C:/data/x@y.db",
    ],
)
def test_url_without_password(tmp_path: Path, url: str):
    """A URL that holds no secret may stand in the file."""
    assert mistakes_in(write_catalogue(tmp_path, **crm("{env: CRM_URL}", f'"{url}"'))) == []


def test_large_file(tmp_path: Path):
    """A file beyond the bound is refused without being read whole."""
    files = {"audiences/a.yaml": "# " + "x" * 2_000_000}
    assert mistakes_in(write_catalogue(tmp_path, **files)) == [
        "audiences/a.yaml:1: the file is larger than 1,000,000 bytes; split it"
    ]


def test_starter(tmp_path: Path):
    """The starter catalogue is commented, complete and free of mistakes."""
    written = write_starter(tmp_path / "new" / "catalog")
    catalogue = load_catalogue(tmp_path / "new" / "catalog")
    assert list(catalogue.audiences) == ["contract_ends_in_30_days"]
    assert catalogue.attributes["status"].fresh_within == timedelta(hours=24)
    files = [path for path in written if path.suffix == ".yaml"]
    assert all(path.read_text().startswith("# ") for path in files)
    assert len(files) > 7


def test_starter_overwrites_nothing(tmp_path: Path):
    """A file that is there already stops the starter before anything is written."""
    (tmp_path / "attributes.yaml").write_text("mine")
    with pytest.raises(CatalogueError, match=r"attributes\.yaml: is there already"):
        write_starter(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["attributes.yaml"]
    assert (tmp_path / "attributes.yaml").read_text() == "mine"


def test_demo_catalogue():
    """The demo's catalogue is free of mistakes."""
    demo = Path(__file__).parents[2] / "profile_pipelines" / "demo" / "catalog"
    assert mistakes_in(demo) == []


def test_import_is_light():
    """Loading a catalogue imports no data library and no Dagster."""
    heavy = ["dagster", "duckdb", "pandas", "polars", "pyarrow", "sqlalchemy", "pandera", "numpy"]
    code = f"import sys, profile_pipelines.catalog.load as _; print({heavy!r} & sys.modules.keys())"
    code = code.replace(repr(heavy), f"set({heavy!r})")
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "set()"


KEYS = sorted(
    {
        field.alias or name
        for model in (Attribute, Audience, Identifier, Settings, Sync, System)
        for name, field in model.model_fields.items()
    }
    | {"tier", "crm", "email", "all", "any", "is", "within_next", "type", "url", "env", "param"}
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.dates(),
    st.datetimes(),
    st.text(max_size=8),
    st.sampled_from(["crm", "tier", "sql", "rest", "files", "string", "date", "24h", "* * * * *"]),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=5)), inner, max_size=5),
    ),
    max_leaves=20,
)
FILES = ("catalogue", "identifiers", "attributes", "sources/crm", "audiences/a")


def _loads_or_explains(content: str, file: str) -> None:
    with TemporaryDirectory() as folder:
        for line in mistakes_in(write_catalogue(Path(folder), **{f"{file}.yaml": content})):
            assert ": " in line
            assert "pydantic" not in line.lower()
            assert "Traceback" not in line


@settings(max_examples=80, deadline=None)
@given(TREES, st.sampled_from(FILES))
def test_any_tree(tree: Any, file: str):
    """Any data in any file gives a catalogue or a CatalogueError, nothing else."""
    _loads_or_explains(yaml.safe_dump(tree, allow_unicode=True), file)


@settings(max_examples=80, deadline=None)
@given(st.data(), st.sampled_from(FILES))
def test_damaged_file(data: st.DataObject, file: str):
    """A valid file with a piece cut out or put in gives a CatalogueError at most."""
    text = {
        **VALID,
        "catalogue.yaml": "timezone: Europe/Berlin\nmax_cluster: 50\n",
        "audiences/a.yaml": "audience: a\nwhere:\n  all:\n    - tier: {is: gold}\n",
    }[f"{file}.yaml"]
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(start + 10, len(text))))
    _loads_or_explains(text[:start] + data.draw(st.text(max_size=4)) + text[end:], file)


def test_a_consent_is_most_restrictive_by_default():
    """Where systems disagree on a consent, a no wins, unless another rule is declared."""
    declared = {"type": "boolean", "sources": ["crm"], "fresh_within": "1h", "consent": "email"}
    assert Attribute.model_validate(declared).merge == "most_restrictive"
    assert Attribute.model_validate(declared | {"merge": "latest"}).merge == "latest"
    assert Attribute.model_validate(declared | {"consent": None}).merge == "priority"
