"""The business systems and what is read from them: systems, syncs, mapped fields."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal, Self, cast

from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator

from profile_pipelines.catalog.aggregates import Aggregate, ChildField
from profile_pipelines.catalog.connections import Connection, Paging, Rate
from profile_pipelines.catalog.convert_steps import ConvertStep
from profile_pipelines.catalog.declaration import Declaration, Duration, Name, Share, Text
from profile_pipelines.catalog.rest_requests import (
    BulkJob,
    FullRead,
    GraphQL,
    Params,
    RestCursor,
    Window,
)
from profile_pipelines.catalog.webhooks import Webhook

SystemKind = Literal["crm", "billing", "ecommerce", "support", "warehouse"]


def _field_or_aggregate(schema: dict[str, Any]) -> None:
    del schema["required"]


class SourceField(Declaration):
    """Where an attribute stands in a record, a column or a path, and how it is converted."""

    model_config = ConfigDict(json_schema_extra=_field_or_aggregate)

    field: str = Field(examples=["account_status"])
    convert: list[ConvertStep] = []
    """The steps, in order, that turn what stands there into what the attribute takes."""
    aggregate: Annotated[
        Aggregate | None,
        BeforeValidator(Aggregate.read, json_schema_input_type=Literal["count"] | Aggregate),
    ] = None
    """Instead of a field: how the value is made of a customer's child records."""
    schedule: str | None = None
    """Cron schedule of its own, in the catalogue's timezone."""

    @classmethod
    def read(cls, value: object) -> object:
        """Let a plain text stand for `{field: text}`."""
        if not isinstance(value, str | dict | SourceField):
            raise ValueError("must be a field's name or path, or {field: …, convert: […]}")
        if isinstance(value, dict) and "aggregate" in value:
            return {"field": "", **cast("dict[str, object]", value)}
        return {"field": value} if isinstance(value, str) else cast(object, value)

    @property
    def origin(self) -> str:
        """What the attribute is made of, for people."""
        return self.field if self.aggregate is None else self.aggregate.in_words


class EventLog(Declaration):
    """An endpoint that lists what has happened; each event names a record by its key."""

    path: str = Field(examples=["/v1/events"])
    """The endpoint, below `base_url`."""
    params: dict[str, str | int | float | bool] = {}
    """Query parameters of every request, such as the types of events to list."""
    records: str | None = None
    """Path of the list of events in the answer; without it the answer itself is the list."""
    paging: Paging | None = None
    """How its pages follow each other, where it differs from the connection's."""
    cursor: RestCursor
    """The query parameter that asks for events since a time."""
    time: str = Field(examples=["created"])
    """Path in the event of its time, in the cursor's format."""
    event_id: str = Field(examples=["id"])
    """Path in the event of what tells it from all others."""
    id: str = Field(examples=["data.object.id"])
    """Path in the event of the record's key: what stands in the sync's `key`."""
    kept: Duration = Field(default=timedelta(days=30), gt=timedelta(0))
    """How long the system keeps its events; who hasn't asked for longer reads everything."""

    @field_validator("cursor")
    @classmethod
    def _in_the_query(cls, cursor: RestCursor) -> RestCursor:
        if cursor.param is None or cursor.location != "query":
            raise ValueError("events are asked for by a query parameter; write param")
        return cursor


class OneRecord(Declaration):
    """How a REST API gives one record by its key; `404` and `410` say that it is gone."""

    path: str = Field(examples=["/v1/customers/{id}"])
    """The endpoint, with `{id}` in place of the key."""
    params: Params = {}
    graphql: GraphQL | None = None
    """A GraphQL query whose variables hold `{id}`; no record in its answer means a gone one."""
    record: str | None = None
    """Path of the record in the answer; without it the answer itself is the record."""

    @model_validator(mode="after")
    def _holds_the_key(self) -> Self:
        text = self.path if self.graphql is None else str(self.graphql.variables)
        if text.count("{id}") != 1:
            where = "the path" if self.graphql is None else "a variable of graphql"
            raise ValueError(f"{where} must hold {{id}} once, in place of the record's key")
        return self

    @classmethod
    def read(cls, value: object) -> object:
        """Let a plain text stand for `{path: text}`."""
        return {"path": value} if isinstance(value, str) else value


class Sync(Declaration):
    """One extraction of a system's table, endpoint or file set."""

    # where
    table: str | None = None
    """The table (or schema.table) of a sql connection."""
    query: str | None = None
    """A select statement instead of a table."""
    path: str | None = None
    """The endpoint below `base_url`, or the files below `root` with `*`, `?` and `**`."""
    format: Literal["parquet", "delta", "iceberg", "csv", "jsonl"] | None = None
    """What the files are, where the path's ending doesn't tell."""
    method: Literal["GET", "POST"] | None = None
    """How the endpoint is asked. Default: POST with a body or a GraphQL query, else GET."""
    params: Params = {}
    """Query parameters of every request."""
    headers: dict[str, Text] = {}
    """Headers of every request, beside the connection's."""
    body: dict[str, Any] | None = None
    """The JSON body of every request; secrets are `{env: NAME}` at any depth."""
    graphql: GraphQL | None = None
    """A GraphQL query instead of a body."""
    records: str | None = None
    """Path of the list of records in the answer; without it the answer itself is the list."""
    paging: Paging | None = None
    """How this endpoint's pages follow each other, where it differs from the connection's."""
    cursor: RestCursor | None = None
    """How changes since a time are asked for; needs `updated_at`."""
    window: Window | None = None
    """How to read past the number of records at which the API's results stop."""
    bulk: BulkJob | None = None
    """That the request starts a job, whose result is downloaded when it's done."""
    full_read: FullRead | None = None
    """The request by which everything is read, where it isn't the one for changes."""
    rate_limit: Rate | None = None
    """What the API allows for this endpoint, beside the connection's limit."""
    one: (
        Annotated[
            OneRecord, BeforeValidator(OneRecord.read, json_schema_input_type=str | OneRecord)
        ]
        | None
    ) = None
    """Where one record is read by its key, for events and webhooks: `/v1/customers/{id}`."""
    events: EventLog | None = None
    """Where the system lists what has happened, for `mode: events`."""
    # what
    key: str | None = None
    """The field that tells the records apart; without it, the strongest identifier does."""
    identifiers: dict[Name, str] = Field(min_length=1, examples=[{"email": "contact_email"}])
    """Identifier: source field."""
    updated_at: str | None = None
    """The field with the time of the last change; with it, only changes are read."""
    deleted: str | None = None
    """The field that marks a deleted record: a flag, or the time of the deletion."""
    deleted_when: list[str | bool] = []
    """The values of that field which mean a deletion, where it's neither flag nor time."""
    fields: dict[Name, ChildField] = {}
    """The values of each child record that this sync's aggregates use, by name."""
    attributes: dict[
        Name,
        Annotated[
            SourceField,
            BeforeValidator(SourceField.read, json_schema_input_type=str | SourceField),
        ],
    ] = Field(examples=[{"status": "account_status"}])
    """Attribute: source field, or `{field: …, convert: […], schedule: …}`."""
    max_deleted: Share = 0.2
    """Above this share of records that one sync would delete, all of the sync is set aside."""
    # when
    mode: Literal["incremental", "full", "events"] | None = None
    """Read changes only, everything each time, or the records that the system's events name.
    Default: changes, where `updated_at` is given."""
    full_every: Duration | None = None
    """How often an incremental sync reads everything, to notice deletions."""
    lateness: Duration = timedelta(minutes=15)
    """How far before the newest time known an incremental read begins, for what comes late."""
    schedule: str = "0 * * * *"
    """Cron schedule of the attributes that have none of their own, in the catalogue's timezone."""

    @property
    def mapped_fields(self) -> tuple[str, ...]:
        """The paths of all fields that are read, each once."""
        optional = (self.key, self.updated_at, self.deleted)
        return tuple(
            dict.fromkeys(
                [
                    *self.identifiers.values(),
                    *(path for path in optional if path is not None),
                    *(each.field or name for name, each in self.fields.items()),
                    *(each.field for each in self.attributes.values() if not each.aggregate),
                ]
            )
        )

    def for_full_read(self) -> Sync:
        """The sync with the request by which everything is read as its own."""
        if self.full_read is None:
            return self
        request = {name: getattr(self.full_read, name) for name in FullRead.model_fields}
        return self.model_copy(
            update={"cursor": None, "window": None, "full_read": None, **request}
        )

    @property
    def is_aggregating(self) -> bool:
        """Whether the records are children, of which customers' values are made."""
        return bool(self.fields) or any(each.aggregate for each in self.attributes.values())


class System(Declaration):
    """A business system and its syncs."""

    system: Name = Field(examples=["crm"])
    """The system's name, which attributes list among their sources."""
    kind: SystemKind = Field(examples=["crm"])
    """What sort of system it is; the screens group by it."""
    description: str = ""
    owner: str | None = None
    """Whom to ask: a person's or team's address."""
    connection: Connection
    """How to reach the system."""
    syncs: dict[Name, Sync] = Field(min_length=1)
    """What to read from it, by name."""
    webhook: Webhook | None = None
    """What it sends by itself when something changes."""
