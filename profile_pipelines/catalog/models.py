"""The declarations of the catalogue: what a user may write, as typed models.

The loader (`catalog.load`) reads YAML into these and adds the names that stand as keys.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal, Self, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    ModelWrapValidatorHandler,
    Tag,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from profile_pipelines.catalog.conditions import Condition
from profile_pipelines.catalog.durations import parse_duration
from profile_pipelines.catalog.normalise_steps import NormaliseStep
from profile_pipelines.catalog.plain_words import explain_keys, located
from profile_pipelines.catalog.validity import typed_rules
from profile_pipelines.catalog.values import AttributeType

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$", max_length=63)]
"""Lower case words joined by single underscores; `__` is kept for the lake's own columns."""

_DurationText = Annotated[str, Field(pattern=r"^\s*\d+\s*[a-zA-Z]+\s*$", examples=["24h"])]
Duration = Annotated[
    timedelta, BeforeValidator(parse_duration, json_schema_input_type=_DurationText)
]
Share = Annotated[
    float,
    BeforeValidator(lambda value: _share(value), json_schema_input_type=float | str),
    Field(ge=0, le=1),
]
MergeRule = Literal["priority", "latest", "most_restrictive", "min", "max"]


class Declaration(BaseModel):
    """Base of all declarations: unknown keys are mistakes, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="wrap")
    @classmethod
    def _explain_keys(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(data)
        except ValidationError as error:
            raise explain_keys(cls, error) from None


class Secret(Declaration):
    """`{env: NAME}`: a value that is read from the environment when it is used."""

    env: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", examples=["CRM_URL"])


def _text_or_secret(value: object) -> str:
    return "secret" if isinstance(value, dict | Secret) else "text"


Text = Annotated[
    Annotated[str, Tag("text")] | Annotated[Secret, Tag("secret")], Discriminator(_text_or_secret)
]


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

    @model_validator(mode="after")
    def _one_reference(self) -> Self:
        if (self.next is None) == (self.last_record is None):
            raise ValueError("needs either next or last_record: where the next cursor stands")
        return self


class LinkPaging(Declaration):
    """The next page's address stands in the answer (`next`) or else in the Link header."""

    type: Literal["link"]
    next: str | None = None
    more: str | None = None
    end: str | None = None


class PagePaging(Declaration):
    """Numbered pages until an empty one, or up to the number of pages in `total_header`."""

    type: Literal["page"]
    param: str = "page"
    start: int = 1
    total_header: str | None = None


class OffsetPaging(Declaration):
    """Offset and limit until a page is empty; a server may give fewer records than `limit`."""

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
    timeout: Duration = Field(default=timedelta(seconds=30), gt=timedelta(0))
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

    field: str = Field(examples=["account_status"])
    schedule: str | None = None
    """Cron schedule of its own, in the catalogue's timezone."""

    @classmethod
    def read(cls, value: object) -> object:
        """Let a plain text stand for `{field: text}`."""
        if not isinstance(value, str | dict | SourceField):
            raise ValueError("must be a field's name or path, or {field: …, schedule: …}")
        return {"field": value} if isinstance(value, str) else cast(object, value)


class RestCursor(Declaration):
    """How an incremental read asks for records changed since a time."""

    param: str
    format: Literal["epoch", "epoch_ms", "iso"] = "epoch"


class Sync(Declaration):
    """One extraction of a system's table, endpoint or file set."""

    # where
    table: str | None = None
    """The table (or schema.table) of a sql connection."""
    query: str | None = None
    """A select statement instead of a table."""
    path: str | None = None
    """The endpoint below `base_url`, or the files below `root` with `*`, `?` and `**`."""
    format: Literal["parquet", "delta", "csv", "jsonl"] | None = None
    """What the files are, where the path's ending doesn't tell."""
    params: dict[str, str | int | float | bool] = {}
    """Query parameters of every request."""
    records: str | None = None
    """Path of the list of records in the answer; without it the answer itself is the list."""
    paging: Paging | None = None
    """How this endpoint's pages follow each other, where it differs from the connection's."""
    cursor: RestCursor | None = None
    """The query parameter that asks for changes since a time; needs `updated_at`."""
    # what
    key: str | None = None
    """The field that tells the records apart; without it, the strongest identifier does."""
    identifiers: dict[Name, str] = Field(min_length=1, examples=[{"email": "contact_email"}])
    """Identifier: source field."""
    updated_at: str | None = None
    """The field with the time of the last change; with it, only changes are read."""
    deleted: str | None = None
    """The field that marks a deleted record: a flag, or the time of the deletion."""
    attributes: dict[
        Name,
        Annotated[
            SourceField,
            BeforeValidator(SourceField.read, json_schema_input_type=str | SourceField),
        ],
    ] = Field(examples=[{"status": "account_status"}])
    """Attribute: source field, or `{field: …, schedule: …}`."""
    # when
    mode: Literal["incremental", "full"] | None = None
    """Read changes only, or everything each time. Default: changes, where `updated_at` is given."""
    full_every: Duration | None = None
    """How often an incremental sync reads everything, to notice deletions."""
    schedule: str = "0 * * * *"
    """Cron schedule of the attributes that have none of their own, in the catalogue's timezone."""


class System(Declaration):
    """A business system and its syncs."""

    system: Name = Field(examples=["crm"])
    """The system's name, which attributes list among their sources."""
    kind: Literal["crm", "billing", "ecommerce", "support", "warehouse"] = Field(examples=["crm"])
    """What sort of system it is; the screens group by it."""
    description: str = ""
    owner: str | None = None
    """Whom to ask: a person's or team's address."""
    connection: Connection
    """How to reach the system."""
    syncs: dict[Name, Sync] = Field(min_length=1)
    """What to read from it, by name."""


class Valid(Declaration):
    """What a valid value looks like; every rule that is given must hold."""

    in_: list[Any] | None = Field(default=None, alias="in")
    """The allowed values; of a list attribute, the allowed entries."""
    min: Any = None
    """The smallest allowed number, date or timestamp."""
    max: Any = None
    """The greatest allowed number, date or timestamp."""
    matches: str | None = None
    """A regular expression that the whole text must match."""
    unique: bool = False
    """No two records of a sync may have the same value."""
    required: bool = False
    """A missing value counts as invalid."""


class Attribute(Declaration):
    """A typed profile attribute: its sources in order of trust, merge rule and freshness."""

    type: AttributeType = Field(examples=["string"])
    sources: list[Name] = Field(min_length=1, examples=[["crm", "billing"]])
    """The systems that know it: the source of truth first, then the fallbacks."""
    merge: MergeRule = "priority"
    """How one value is made of several."""
    fresh_within: Duration = Field(examples=["24h"])
    """The age of the last sync beyond which a value counts as stale."""
    valid: Valid = Valid()
    """What a valid value looks like; others are quarantined."""
    max_invalid: Share = 0.05
    """Above this share of invalid values a sync's values of this attribute are set aside."""
    consent: Name | None = None
    """The channel for whose messages this boolean is the customer's consent."""
    description: str = ""
    owner: str | None = None

    @field_validator("valid")
    @classmethod
    def _type_rules(cls, valid: Valid, info: ValidationInfo) -> Valid:
        if "type" not in info.data:
            return valid
        rules, mistakes = typed_rules(info.data["type"], valid)
        if mistakes:
            raise located(mistakes)
        return valid.model_copy(update=rules)


class Identifier(Declaration):
    """A typed key of a customer, with the steps that bring its spellings to one form."""

    normalise: list[NormaliseStep] = ["trim"]
    """The steps, in order, that bring every spelling to one form."""
    deny: list[str] = []
    """Placeholders that stand for no customer, beside the built-in ones."""
    description: str = ""


class Audience(Declaration):
    """A set of profiles given by a condition."""

    audience: Name = Field(examples=["gold_customers"])
    """The audience's name."""
    description: str = ""
    owner: str | None = None
    where: Condition = Field(examples=[{"status": {"is": "active"}}])
    """The condition that decides who is a member."""


class Settings(Declaration):
    """`catalogue.yaml`: what holds for the whole catalogue."""

    timezone: str = "UTC"
    """IANA name of the time zone of dates and schedules, such as Europe/Berlin."""
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
    if not isinstance(value, str):
        return value
    number = value.strip().removesuffix("%")
    if number == value.strip() or not number.replace(".", "", 1).isdecimal():
        raise ValueError("must be a share, for example 5% or 0.05")
    return float(number) / 100
