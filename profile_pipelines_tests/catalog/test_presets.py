"""Presets: what users write is laid over them, and mistakes are told at the user's line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from profile_pipelines.catalog.connections import RestConnection
from profile_pipelines.catalog.cross_checks import MAX_SYSTEMS
from profile_pipelines.catalog.json_schema import file_schema
from profile_pipelines.catalog.load import load_catalogue, read_presets
from profile_pipelines.catalog.preset_files import preset_mistakes, shipped, shipped_names
from profile_pipelines.catalog.preset_starter import write_preset_starter
from profile_pipelines.catalog.systems import System
from profile_pipelines.errors import CatalogueError
from profile_pipelines_tests.catalog.folders import attr, mistakes_in, write_catalogue

PRESET = """\
preset: desk
title: Desk
kind: support
fields:
  token: {description: A token, secret: true}
  site: {description: The site's name, example: acme}
  page_size: {description: Records of a page, default: "100"}
  version: {description: The API's version, default: null}
identifiers: {email: {}}
connection:
  type: rest
  base_url: https://{site}.example.com
  auth: {type: bearer, token: "{token}"}
  headers: {Accept: application/json, Version: "{version}"}
  paging: {type: page, param: p}
streams:
  people:
    description: People
    path: /{site}/people
    params: {limit: "{page_size}", expand: all, since: "{since}"}
    identifiers: {email: mail}
    updated_at: changed
    schedule: "0 * * * *"
    attributes:
      tier: {field: level, schedule: "*/5 * * * *", attribute: {type: string}}
      points: {field: score, attribute: {type: integer}}
"""
CONNECTION = "{type: desk, site: acme, token: {env: DESK_TOKEN}}"


def _files(
    sync: str = "attributes: [tier, points]",
    *,
    connection: str = CONNECTION,
    name: str = "people",
    preset: str = PRESET,
) -> dict[str, str]:
    source = f"system: crm\nconnection: {connection}\nsyncs:\n  {name}:\n    {sync}\n"
    return {"presets/desk.yaml": preset, "sources/crm.yaml": source}


def _system(folder: Path, *lines: str, **options: str) -> System:
    files = _files("\n    ".join(lines) or "attributes: [tier, points]", **options)
    return load_catalogue(write_catalogue(folder, **files)).systems["crm"]


def test_a_few_lines_are_a_system(tmp_path: Path) -> None:
    """The preset gives the kind, the connection and the stream; the user names and secrets."""
    system = _system(tmp_path)
    assert system.kind == "support"
    connection = system.connection
    assert isinstance(connection, RestConnection)
    assert connection.base_url == "https://acme.example.com"
    assert connection.headers == {"Accept": "application/json"}, "an absent field leaves no key"
    assert connection.auth is not None
    assert connection.auth.model_dump() == {"type": "bearer", "token": {"env": "DESK_TOKEN"}}
    sync = system.syncs["people"]
    assert sync.path == "/acme/people"
    assert sync.params == {"limit": "100", "expand": "all", "since": "{since}"}
    assert {name: (a.field, a.schedule) for name, a in sync.attributes.items()} == {
        "tier": ("level", "*/5 * * * *"),
        "points": ("score", None),
    }


def test_every_key_can_be_overridden(tmp_path: Path) -> None:
    """Mappings are merged, null takes away, another type replaces, identifiers are the user's."""
    system = _system(
        tmp_path,
        "stream: people",
        "params: {limit: 5, expand: null}",
        "updated_at: null",
        "paging: {type: offset}",
        "identifiers: {email: contact.mail}",
        'attributes: {tier: {suggested: points, schedule: "0 1 * * *"}, points: other}',
        name="contacts",
        connection=CONNECTION[:-1] + ", timeout: 5s, paging: {start: 0}, base_url: http://x.test}",
    )
    assert isinstance(system.connection, RestConnection)
    assert system.connection.base_url == "http://x.test"
    assert system.connection.paging.model_dump(exclude_unset=True) == {
        "type": "page",
        "param": "p",
        "start": 0,
    }
    sync = system.syncs["contacts"]
    assert sync.params == {"limit": 5, "since": "{since}"}
    assert sync.updated_at is None
    assert sync.paging is not None
    assert sync.paging.type == "offset"
    assert sync.identifiers["email"].field == "contact.mail"
    assert (sync.attributes["tier"].field, sync.attributes["tier"].schedule) == (
        "score",
        "0 1 * * *",
    )
    assert sync.attributes["points"].field == "other"


def test_a_parameter_called_type_is_a_parameter(tmp_path: Path) -> None:
    """Only authentication and paging are replaced as a whole by another type."""
    system = _system(tmp_path, "params: {type: person, expand: null}", "attributes: [tier, points]")
    assert system.syncs["people"].params == {"limit": "100", "since": "{since}", "type": "person"}


def test_an_endpoint_of_ones_own(tmp_path: Path) -> None:
    """A sync with a path needs no stream, and goes through the preset's connection."""
    system = _system(
        tmp_path,
        "path: /own",
        "identifiers: {email: e}",
        "attributes: {tier: t, points: p}",
        name="own",
    )
    assert system.syncs["own"].model_fields_set == {"path", "identifiers", "attributes"}


MISTAKES = [
    pytest.param(
        _files(connection="{type: desk, site: acme}"),
        [
            "sources/crm.yaml:2: connection.token: is missing: A token; write for example "
            "token: {env: DESK_TOKEN}"
        ],
        id="missing field",
    ),
    pytest.param(
        _files(connection="{type: desk, site: acme, token: s3cr3t}"),
        [
            "sources/crm.yaml:2: connection.token: secrets never stand in YAML; write "
            "{env: NAME} and set that environment variable"
        ],
        id="literal secret",
    ),
    pytest.param(
        _files(connection="{type: desk, sight: acme, token: {env: T}}"),
        [
            "sources/crm.yaml:2: connection.sight: unknown key; did you mean site?",
            "sources/crm.yaml:2: connection.site: is missing: The site's name; write for "
            "example site: acme",
        ],
        id="misspelt field",
    ),
    pytest.param(
        _files(connection="{type: desk, site: {env: SITE}, token: {env: T}}"),
        [
            "sources/crm.yaml:2: connection.site: must be plain text, since the preset makes it "
            "part of another text"
        ],
        id="part of a text that isn't text",
    ),
    pytest.param(
        _files(connection="{type: desc, site: acme, token: {env: T}}"),
        [
            "sources/crm.yaml:2: connection.type: must be sql, rest, files or custom, "
            "or a preset of `profile-pipelines sources`; did you mean desk?"
        ],
        id="misspelt preset",
    ),
    pytest.param(
        _files(connection=CONNECTION[:-1] + ", timeout: soon}"),
        [
            "sources/crm.yaml:2: connection.timeout: 'soon' is not a duration; write for example "
            "90m, 24h or 30 days"
        ],
        id="mistake in an overridden key",
    ),
    pytest.param(
        _files(name="persons"),
        [
            "sources/crm.yaml:4: syncs.persons: desk has no stream persons; there are people; "
            "or give the path of an endpoint of your own"
        ],
        id="unknown stream",
    ),
    pytest.param(
        _files("stream: persons\n    attributes: [tier]", name="contacts"),
        [
            "sources/crm.yaml:5: syncs.contacts.stream: desk has no stream persons; there are "
            "people; or give the path of an endpoint of your own"
        ],
        id="unknown stream under another name",
    ),
    pytest.param(
        _files("attributes: [tier, point]"),
        [
            "sources/crm.yaml:5: syncs.people.attributes[1]: the stream suggests no attribute "
            "point; did you mean points?"
        ],
        id="unknown suggestion",
    ),
    pytest.param(
        _files("schedule: '0 * * * *'"),
        [
            "sources/crm.yaml:4: syncs.people.attributes: is missing; take some of tier and "
            "points, or write {} to link identifiers only"
        ],
        id="no attributes",
    ),
    pytest.param(
        _files("mode: sometimes\n    attributes: [tier, points]"),
        ["sources/crm.yaml:5: syncs.people.mode: must be incremental, full or events"],
        id="mistake in a sync",
    ),
    pytest.param(
        {**_files("attributes: [tier, points]"), "identifiers.yaml": "phone: {}\n"},
        [
            "sources/crm.yaml:4: syncs.people.identifiers.email: unknown identifier; there is "
            "only phone"
        ],
        id="the preset's identifier isn't declared",
    ),
    pytest.param(
        _files(preset=PRESET.replace("type: page, param", "type: pages, param")),
        [
            "presets/desk.yaml:15: connection.paging.type: must be cursor, link, page, offset or "
            "none; did you mean page?"
        ],
        id="mistake in a preset's connection",
    ),
    pytest.param(
        _files(preset=PRESET.replace('"{token}"', '"{tokken}"')),
        [
            "presets/desk.yaml:10: connection: {tokken} is none of the preset's fields; declare "
            "it under fields"
        ],
        id="unknown field in a template",
    ),
    pytest.param(
        _files(preset=PRESET.replace("    path: /{site}/people\n", "")),
        [
            "presets/desk.yaml:17: streams.people.path: is missing; write for example path: "
            "/v1/customers"
        ],
        id="stream without a path",
    ),
]


@pytest.mark.parametrize(("files", "expected"), MISTAKES)
def test_mistake(tmp_path: Path, files: dict[str, str], expected: list[str]) -> None:
    """A mistake gives exactly these lines, at the place that the user wrote."""
    assert mistakes_in(write_catalogue(tmp_path, **files)) == expected


def test_own_preset_in_place_of_a_shipped_one(tmp_path: Path) -> None:
    """A preset of the catalogue wins over the package's of the same name."""
    own = PRESET.replace("preset: desk", "preset: stripe")
    system = _system(tmp_path, preset=own, connection=CONNECTION.replace("desk", "stripe"))
    assert system.syncs["people"].path == "/acme/people"
    assert not read_presets(tmp_path)["stripe"].shipped


def test_many_systems_over_one_preset_load_quickly(tmp_path: Path) -> None:
    """The most systems that there can be, over one preset, are read like any others."""
    files = {
        f"sources/desk_{i}.yaml": _files("attributes: {}")["sources/crm.yaml"].replace(
            "system: crm", f"system: desk_{i}"
        )
        for i in range(MAX_SYSTEMS - 1)
    }
    folder = write_catalogue(tmp_path, **files, **{"presets/desk.yaml": PRESET})
    assert len(load_catalogue(folder).systems) == MAX_SYSTEMS


@pytest.mark.parametrize("name", shipped_names())
class TestShipped:
    """Each preset of the package."""

    def test_is_right(self, name: str) -> None:
        """It has no mistakes, and says what people need."""
        loaded = shipped(name)
        preset = loaded.preset
        assert preset.preset == name
        assert list(preset_mistakes(preset, loaded.data)) == []
        assert preset.docs
        suggested = [a for stream in preset.streams.values() for a in stream.attributes]
        assert len(suggested) == len(set(suggested)), "an attribute stands in one sync"
        for stream in preset.streams.values():
            assert stream.docs
            assert set(stream.identifiers) <= set(preset.identifiers)
            if stream.mode != "full" and stream.updated_at and not stream.deleted:
                assert stream.full_every, "deletions must be noticed some day"

    def test_starter_is_a_catalogue(self, name: str, tmp_path: Path) -> None:
        """What `init --source` writes loads, fits the JSON Schema, and isn't overwritten."""
        written = write_preset_starter(tmp_path, shipped(name), "mine")
        catalogue = load_catalogue(tmp_path)
        assert set(catalogue.systems["mine"].syncs) == set(shipped(name).preset.streams)
        source = yaml.safe_load((tmp_path / "sources" / "mine.yaml").read_text())
        Draft202012Validator(file_schema("source")).validate(source)
        before = {path: path.read_text() for path in written}
        with pytest.raises(CatalogueError, match="declares the system mine already"):
            write_preset_starter(tmp_path, shipped(name), "mine")
        assert before == {path: path.read_text() for path in written}


def test_starter_leaves_a_catalogue_as_it_is(tmp_path: Path) -> None:
    """Attributes and identifiers that are declared already are taken as they are."""
    folder = write_catalogue(tmp_path, **attr("points:", "billing_language:"), **_crm_language())
    write_preset_starter(folder, shipped("stripe"), "stripe")
    text = (folder / "sources" / "stripe.yaml").read_text()
    assert "# - billing_language" in text
    assert "first add stripe to its sources in attributes.yaml" in text
    assert (
        "billing_language"
        not in load_catalogue(folder).systems["stripe"].syncs["customers"].attributes
    )
    customers = load_catalogue(folder).systems["stripe"].syncs["customers"]
    assert {name: each.field for name, each in customers.identifiers.items()} == {"email": "email"}


def test_starter_without_a_common_identifier(tmp_path: Path) -> None:
    """A catalogue that knows none of the preset's identifiers gets nothing but the advice."""
    folder = write_catalogue(tmp_path, **{"identifiers.yaml": "phone: {}\n"})
    with pytest.raises(CatalogueError, match="add one of these"):
        write_preset_starter(folder, shipped("stripe"), "stripe")
    assert not (folder / "sources" / "stripe.yaml").exists()


def _crm_language() -> dict[str, str]:
    from profile_pipelines_tests.catalog.folders import crm

    return crm("points: points", "billing_language: language")


@pytest.mark.parametrize(
    "change",
    [
        {"connection": {"type": "stripe", "api_kee": {"env": "X"}}},
        {"connection": {"type": "stripe", "api_key": "sk_live"}},
        {"syncs": {"customers": {"attributes": [1]}}},
        {"syncs": {"customers": {}}},
    ],
)
def test_editors_mark_mistakes(change: dict[str, Any]) -> None:
    """The JSON Schema knows a preset's connection and what its syncs may leave out."""
    source = {
        "system": "stripe",
        "connection": {"type": "stripe", "api_key": {"env": "KEY"}, "timeout": "5s"},
        "syncs": {"customers": {"attributes": ["billing_language"], "updated_at": None}},
    }
    validator = Draft202012Validator(file_schema("source"))
    validator.validate(source)
    assert not validator.is_valid({**source, **change})
