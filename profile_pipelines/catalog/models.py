"""The declarations of the catalogue: what a user may write, as typed models.

The loader (`catalog.load`) reads YAML into these and adds the names that stand as keys.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal, Self

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

    field: str
    schedule: str | None = None

    @classmethod
    def read(cls, value: object) -> object:
        """Let a plain text stand for `{field: text}`."""
        return {"field": value} if isinstance(value, str) else value


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
    identifiers: dict[Name, str] = Field(min_length=1, examples=["{email: contact_email}"])
    updated_at: str | None = None
    deleted: str | None = None
    attributes: dict[
        Name,
        Annotated[
            SourceField,
            BeforeValidator(SourceField.read, json_schema_input_type=str | SourceField),
        ],
    ]
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

    type: AttributeType = Field(examples=["string"])
    sources: list[Name] = Field(min_length=1, examples=["[crm, billing]"])
    merge: MergeRule = "priority"
    fresh_within: Duration = Field(examples=["24h"])
    valid: Valid = Valid()
    max_invalid: Share = 0.05
    """Above this share of invalid values a sync's values of this attribute are set aside."""
    consent: Name | None = None
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
    if not isinstance(value, str):
        return value
    number = value.strip().removesuffix("%")
    if number == value.strip() or not number.replace(".", "", 1).isdecimal():
        raise ValueError("must be a share, for example 5% or 0.05")
    return float(number) / 100
