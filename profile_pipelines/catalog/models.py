"""The declarations of the catalogue: what a user may write, as typed models.

The loader (`catalog.load`) reads YAML into these and adds the names that stand as keys.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from profile_pipelines.catalog.conditions import Condition
from profile_pipelines.catalog.durations import parse_duration

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$", max_length=63)]
"""Lower case words joined by single underscores; `__` is kept for the lake's own columns."""

Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
Share = Annotated[float, BeforeValidator(lambda value: _share(value)), Field(ge=0, le=1)]
AttributeType = Literal["string", "integer", "decimal", "boolean", "date", "timestamp", "list"]
MergeRule = Literal["priority", "latest", "most_restrictive", "min", "max"]


class Declaration(BaseModel):
    """Base of all declarations: unknown keys are mistakes, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Secret(Declaration):
    """`{env: NAME}`: a value that is read from the environment when it is used."""

    env: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")


Text = str | Secret


class SqlConnection(Declaration):
    """Any database that SQLAlchemy reaches; a URL that holds a password must be `{env: NAME}`."""

    type: Literal["sql"]
    url: Text


class BearerAuth(Declaration):
    type: Literal["bearer"]
    token: Secret


class BasicAuth(Declaration):
    type: Literal["basic"]
    username: Text
    password: Secret


class ApiKeyAuth(Declaration):
    type: Literal["api_key"]
    name: str
    key: Secret
    location: Literal["header", "query"] = "header"


Auth = Annotated[BearerAuth | BasicAuth | ApiKeyAuth, Field(discriminator="type")]


class CursorPaging(Declaration):
    """The answer names the next page by a cursor, or the last record's id is the cursor."""

    type: Literal["cursor"]
    param: str
    next: str | None = None
    """Path of the next cursor in the answer."""
    last_record: str | None = None
    """Path in the last record whose value is the next cursor (Stripe's `starting_after`)."""
    more: str | None = None
    """Path of the flag that says whether more pages follow."""
    end: str | None = None
    """Path of the flag that says that this page is the last (Zendesk's `end_of_stream`)."""


class LinkPaging(Declaration):
    """The next page's address stands in the answer (`next`) or else in the Link header."""

    type: Literal["link"]
    next: str | None = None
    more: str | None = None
    end: str | None = None


class PagePaging(Declaration):
    """Numbered pages until an empty one, or until the count in `total_header` is reached."""

    type: Literal["page"]
    param: str = "page"
    start: int = 1
    total_header: str | None = None


class OffsetPaging(Declaration):
    """Offset and limit until a page is short."""

    type: Literal["offset"]
    param: str = "offset"
    limit_param: str = "limit"
    limit: int = 100


class NoPaging(Declaration):
    type: Literal["none"]


Paging = Annotated[
    CursorPaging | LinkPaging | PagePaging | OffsetPaging | NoPaging, Field(discriminator="type")
]


class RestConnection(Declaration):
    """An HTTP API that answers with JSON."""

    type: Literal["rest"]
    base_url: Text
    auth: Auth | None = None
    headers: dict[str, Text] = {}
    paging: Paging = NoPaging(type="none")
    timeout: Duration = timedelta(seconds=30)
    retries: int = Field(default=5, ge=0, le=20)


class FilesConnection(Declaration):
    """A folder or object-store prefix with files."""

    type: Literal["files"]
    root: Text


Connection = Annotated[
    SqlConnection | RestConnection | FilesConnection, Field(discriminator="type")
]


class SourceField(Declaration):
    """Where an attribute stands in a source's record: a column, or a dotted path with indexes."""

    field: str
    schedule: str | None = None


class RestCursor(Declaration):
    """How an incremental read asks for records changed since a time."""

    param: str
    format: Literal["epoch", "epoch_ms", "iso"] = "epoch"


class Sync(Declaration):
    """One extraction of a system's table, endpoint or file set."""

    # where
    table: str | None = None
    query: str | None = None
    path: str | None = None
    format: Literal["parquet", "delta", "csv", "jsonl"] | None = None
    params: dict[str, str | int | float | bool] = {}
    records: str | None = None
    paging: Paging | None = None
    cursor: RestCursor | None = None
    # what
    key: str | None = None
    identifiers: dict[Name, str] = Field(min_length=1)
    updated_at: str | None = None
    deleted: str | None = None
    attributes: dict[Name, SourceField]
    # when
    mode: Literal["incremental", "full"] | None = None
    full_every: Duration | None = None
    schedule: str = "0 * * * *"


class System(Declaration):
    """A business system and its syncs."""

    system: Name
    kind: Literal["crm", "billing", "ecommerce", "support", "warehouse"]
    description: str = ""
    owner: str | None = None
    connection: Connection
    syncs: dict[Name, Sync] = Field(min_length=1)


class Valid(Declaration):
    """What a valid value looks like; every rule that is given must hold."""

    in_: list[Any] | None = Field(default=None, alias="in")
    min: Any = None
    max: Any = None
    matches: str | None = None
    """A regular expression that the whole text must match."""
    unique: bool = False
    required: bool = False


class Attribute(Declaration):
    """A typed profile attribute: its sources in order of trust, merge rule and freshness."""

    type: AttributeType
    sources: list[Name] = Field(min_length=1)
    merge: MergeRule = "priority"
    fresh_within: Duration
    valid: Valid = Valid()
    max_invalid: Share = 0.05
    """Above this share of invalid values a sync's values of this attribute are set aside."""
    consent: Name | None = None
    description: str = ""
    owner: str | None = None


class Identifier(Declaration):
    """A typed key of a customer, with the steps that bring its spellings to one form."""

    normalise: list[str | dict[str, str]] = ["trim"]
    deny: list[str] = []
    """Placeholders that stand for no customer, beside the built-in ones."""
    description: str = ""


class Audience(Declaration):
    """A set of profiles given by a condition."""

    audience: Name
    description: str = ""
    owner: str | None = None
    where: Condition


class Settings(Declaration):
    """`catalogue.yaml`: what holds for the whole catalogue."""

    timezone: str = "UTC"
    max_cluster: int = Field(default=100, ge=2)
    """Most records that may be joined into one profile; larger clusters are held apart."""


class Catalogue(BaseModel):
    """Everything that a catalogue folder declares. Identifiers stand strongest first."""

    model_config = ConfigDict(frozen=True)

    settings: Settings = Settings()
    identifiers: dict[str, Identifier]
    attributes: dict[str, Attribute]
    systems: dict[str, System]
    audiences: dict[str, Audience] = {}


def _share(value: object) -> object:
    if isinstance(value, str) and value.strip().endswith("%"):
        return float(value.strip()[:-1]) / 100
    return value
