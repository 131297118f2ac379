"""The business systems and what is read from them: systems, syncs, mapped fields."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any, Literal, Self, cast

from pydantic import BeforeValidator, Field, field_validator, model_validator

from profile_pipelines.catalog.aggregates import Aggregate, ChildField, order_columns
from profile_pipelines.catalog.connections import Connection, Paging, Rate, Timeout
from profile_pipelines.catalog.csv_options import CsvOptions
from profile_pipelines.catalog.declaration import Declaration, Duration, Name, Share, Text, Zone
from profile_pipelines.catalog.mapped_fields import Mapped, MappedField, MappedIdentifier
from profile_pipelines.catalog.rest_requests import (
    BulkJob,
    DeletedList,
    FullRead,
    GraphQL,
    Params,
    RestCursor,
    Window,
)
from profile_pipelines.catalog.survivorship import Survivorship, Winner
from profile_pipelines.catalog.values import AttributeType
from profile_pipelines.catalog.webhooks import Webhook

SystemKind = Literal["crm", "billing", "ecommerce", "support", "warehouse"]


class SourceField(MappedField):
    """Where an attribute stands, or how it is made of a customer's child records."""

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
        if isinstance(value, dict) and "aggregate" in value:
            return {"field": "", **cast("dict[str, object]", value)}
        return super().read(cast(object, value))

    @property
    def origin(self) -> str:
        """What the attribute is made of, for people."""
        return self.field if self.aggregate is None else self.aggregate.in_words


class EventLog(Declaration):
    """An endpoint that lists what has happened; each event names a record by its key."""

    path: str = Field(examples=["/v1/events"])
    """The endpoint, below `base_url`."""
    params: Params = {}
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
    csv: CsvOptions | None = None
    """How CSV files are written, where that isn't to be found from each of them."""
    method: Literal["GET", "POST"] | None = None
    """How the endpoint is asked. Default: POST with a body or a GraphQL query, else GET."""
    params: Params = {}
    """Query parameters of every request; a list sends each of its values: `type=a&type=b`."""
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
    deleted_list: DeletedList | None = None
    """Where the API lists deleted records, which incremental reads don't show."""
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
    key: Mapped | None = None
    """The field that tells the records apart; without it, the strongest identifier does."""
    identifiers: dict[Name, MappedIdentifier] = Field(
        min_length=1, examples=[{"email": "contact_email"}]
    )
    """Identifier: source field, or `{field: …, convert: […], many: true}`."""
    updated_at: Mapped | None = None
    """The field with the time of the last change; with it, only changes are read."""
    zone: Zone | None = None
    """The time zone of times that bear none; without it, the connection's."""
    deleted: Mapped | None = None
    """The field that marks a deleted record: a flag, or the time of the deletion."""
    deleted_when: list[str | bool | int] = []
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
    survivorship: Survivorship = "attribute"
    """Which of a customer's records gives the values: for each attribute the newest that has it, or
    for all of them the one record that wins."""
    winner: Annotated[
        Winner | None,
        BeforeValidator(
            Winner.read,
            json_schema_input_type=str | dict[str, Any] | list[Any],
        ),
    ] = None
    """Which record wins: `{status: [active, canceled], then: updated_at}`. Default: the newest."""
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
    at_most: Timeout | None = None
    """How long one sync may take to read all that it wants; without it, the system's."""
    schedule: str = "0 * * * *"
    """Cron schedule of the attributes that have none of their own, in the catalogue's timezone."""

    @property
    def mapped_fields(self) -> tuple[str, ...]:
        """The paths of all fields that are read, each once."""
        return tuple(
            dict.fromkeys(
                [
                    *(path for each in self.controls for path in each.reads),
                    *(path for name, each in self.fields.items() for path in each.paths(name)),
                    *(
                        path
                        for each in self.attributes.values()
                        if not each.aggregate
                        for path in each.reads
                    ),
                ]
            )
        )

    @property
    def controls(self) -> tuple[MappedField, ...]:
        """The fields without which no record can be read: whose it is, which one, when, gone."""
        return tuple(each for _, each in self.roles)

    @property
    def many(self) -> tuple[str, ...]:
        """The identifiers of which a record may have several values."""
        return tuple(name for name, each in self.identifiers.items() if each.many)

    @property
    def roles(self) -> Iterator[tuple[tuple[str, ...], MappedField]]:
        """The controls with their paths below the sync."""
        for name, each in self.identifiers.items():
            yield ("identifiers", name), each
        for role, each in (
            ("key", self.key),
            ("updated_at", self.updated_at),
            ("deleted", self.deleted),
        ):
            if each is not None:
                yield (role,), each

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

    @property
    def order_columns(self) -> dict[str, AttributeType]:
        """The columns beside the customers' attributes that are made by `last`."""
        return {
            column: kind
            for name, each in self.attributes.items()
            if each.aggregate is not None
            for column, kind in order_columns(name, each.aggregate, self.fields).items()
        }


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
    at_most: Timeout = timedelta(hours=2)
    """How long one of its syncs may take to read all that it wants."""

    def zone_of(self, sync: Sync) -> str:
        """The IANA name of the time zone in which this sync's times without one are meant."""
        return sync.zone or self.connection.zone

    def at_most_of(self, sync: Sync) -> timedelta:
        """How long this sync may take to read all that it wants."""
        return sync.at_most or self.at_most
