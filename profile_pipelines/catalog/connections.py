"""How a system is reached: databases, HTTP APIs with their authentication and paging, files."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Literal, Self, cast

from pydantic import BeforeValidator, Field, field_validator, model_validator

from profile_pipelines.catalog.declaration import (
    DatabaseAddress,
    Declaration,
    Duration,
    Secret,
    Size,
    Text,
    Zone,
)
from profile_pipelines.catalog.durations import parse_duration

Location = Literal["query", "body", "variables"]
"""Where a parameter goes: into the address, or to a dotted path in the body or in the variables
of a GraphQL query."""


Timeout = Annotated[Duration, Field(gt=timedelta(0))]


class SqlConnection(Declaration):
    """Any database that SQLAlchemy reaches; a URL that holds a password must be `{env: NAME}`."""

    type: Literal["sql"]
    url: DatabaseAddress
    timeout: Timeout = timedelta(minutes=30)
    """How long to wait for a statement's first rows, and for the next ones each time."""
    zone: Zone = "UTC"
    """The time zone of times that bear none, such as Europe/Berlin."""


class BearerAuth(Declaration):
    type: Literal["bearer"]
    token: Secret


class BasicAuth(Declaration):
    type: Literal["basic"]
    username: Text
    password: Secret | None = None
    """Left out where the username is the whole secret."""


class ApiKeyAuth(Declaration):
    type: Literal["api_key"]
    name: str
    key: Secret
    location: Literal["header", "query"] = "header"


class OAuth2Auth(Declaration):
    """A token by client credentials, or by a refresh token where one is given."""

    type: Literal["oauth2"]
    url: Text
    """The token endpoint; it may be on another host than the API."""
    client_id: Text
    client_secret: Secret | None = None
    refresh_token: Secret | None = None
    scope: str | None = None
    params: dict[str, Text] = {}
    """Further fields of the token request, such as `audience`."""
    client_auth: Literal["body", "basic"] = "body"
    """Whether id and secret go into the token request's form or its Authorization header."""


class LoginAuth(Declaration):
    """A token by a JSON login request, such as a GraphQL mutation."""

    type: Literal["login"]
    path: str
    """The login's endpoint, below `base_url`."""
    body: dict[str, Any]
    """What is posted, as JSON; secrets are `{env: NAME}` at any depth."""
    found_at: str | None = None
    """Path of the token in the answer."""
    found_header: str | None = None
    """Header of the answer with the token, instead of `found_at`."""
    header: str = "Authorization"
    prefix: str = "Bearer "

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.found_at is None) == (self.found_header is None):
            raise ValueError("needs either found_at or found_header: where the token stands")
        return self


Auth = Annotated[
    BearerAuth | BasicAuth | ApiKeyAuth | OAuth2Auth | LoginAuth, Field(discriminator="type")
]


class CursorPaging(Declaration):
    """The answer names the next page by a cursor, or the last record's id is the cursor."""

    type: Literal["cursor"]
    param: str
    location: Location = "query"
    next: str | None = None
    """Path of the next cursor in the answer."""
    next_header: str | None = None
    """Header with the next cursor; `null` ends the pages (Salesforce's `Sforce-Locator`)."""
    last_record: str | None = None
    """Path in the last record whose value is the next cursor (Stripe's `starting_after`)."""
    more: str | None = None
    """Path of the flag that says whether more pages follow."""
    end: str | None = None
    """Path of the flag that says that this page is the last (Zendesk's `end_of_stream`)."""

    @model_validator(mode="after")
    def _one_reference(self) -> Self:
        if [self.next, self.next_header, self.last_record].count(None) != 2:
            raise ValueError(
                "needs one of next, next_header and last_record: where the next cursor stands"
            )
        return self


class LinkPaging(Declaration):
    """The next page's address stands in the answer (`next`) or else in the Link header."""

    type: Literal["link"]
    next: str | None = None
    more: str | None = None
    end: str | None = None


class PagePaging(Declaration):
    """Numbered pages until an empty one, or up to the number of pages that the API tells."""

    type: Literal["page"]
    param: str = "page"
    location: Location = "query"
    start: int = 1
    total_header: str | None = None
    """Header with the number of pages."""
    total: str | None = None
    """Path of the number of pages in the answer."""


class OffsetPaging(Declaration):
    """Offset and limit until a page is empty; a server may give fewer records than `limit`."""

    type: Literal["offset"]
    param: str = "offset"
    limit_param: str = "limit"
    location: Location = "query"
    limit: int = 100
    total: str | None = None
    """Path of the number of records in the answer, which spares the last, empty page."""


class NoPaging(Declaration):
    type: Literal["none"]


Paging = Annotated[
    CursorPaging | LinkPaging | PagePaging | OffsetPaging | NoPaging, Field(discriminator="type")
]


class RateLimit(Declaration):
    """At most so many requests in any period of this length."""

    count: int = Field(gt=0, le=1_000_000)
    period: Duration = Field(gt=timedelta(0))

    @classmethod
    def read(cls, value: object) -> object:
        """Let `10 per minute` and `100 per 10 seconds` stand for count and period."""
        if isinstance(value, dict | RateLimit):
            return cast(object, value)
        match = re.fullmatch(r"\s*(\d+)\s+per\s+(?:(\d+)\s*)?([a-z]+)\s*", str(value))
        if match is None:
            raise ValueError("must be a rate, for example 10 per minute or 100 per 10 seconds")
        return {"count": int(match[1]), "period": parse_duration(f"{match[2] or 1}{match[3]}")}


Rate = Annotated[RateLimit, BeforeValidator(RateLimit.read, json_schema_input_type=str)]


class RestConnection(Declaration):
    """An HTTP API that answers with JSON."""

    type: Literal["rest"]
    base_url: Text
    auth: Auth | None = None
    headers: dict[str, Text] = {}
    paging: Paging = NoPaging(type="none")
    timeout: Timeout = timedelta(seconds=30)
    """How long to wait for a connection, and for an answer's next bytes each time."""
    retries: int = Field(default=5, ge=0, le=20)
    rate_limit: Rate | None = None
    """What the API allows; all syncs of the system on this machine share it."""
    allow_private: bool | list[str] = False
    """Whether the API may be at a private or loopback address; or only these hosts may."""
    hosts: list[str] = []
    """Further hosts from which the results of bulk jobs may be downloaded, without secrets."""
    max_answer: Size = 200 * 2**20
    """The largest answer that is taken, unpacked."""
    max_download: Size = 20 * 2**30
    """The largest result of a bulk job that is taken, unpacked."""
    max_empty_pages: int = Field(default=100, ge=1)
    """How many pages in a row may bring nothing new: no record, or those of the page before."""
    min_bytes_per_second: int = Field(default=10, ge=0, le=1_000_000)
    """An answer that comes more slowly, over the length of `timeout`, counts as cut; 0: never."""
    zone: Zone = "UTC"
    """The time zone of times that bear none, such as Europe/Berlin."""

    @field_validator("base_url")
    @classmethod
    def _is_address(cls, url: str | Secret) -> str | Secret:
        if isinstance(url, str) and not re.match(r"https?://[^/]", url, re.IGNORECASE):
            raise ValueError("must be the API's address, for example https://api.example.com/v1")
        return url


class FilesConnection(Declaration):
    """A folder or object-store prefix with files."""

    type: Literal["files"]
    root: Text
    options: dict[str, Text] = {}
    """What the object store needs: region, endpoint, credentials."""
    timeout: Timeout = timedelta(minutes=30)
    """How long to wait for a file's first rows, and for the next ones each time."""
    zone: Zone = "UTC"
    """The time zone of times that bear none, such as Europe/Berlin."""


class CustomConnection(Declaration):
    """A Python function that yields dictionaries or Arrow."""

    type: Literal["custom"]
    name: str = Field(examples=["our_package.sources:people"])
    """`module:function`, or the name of an entry point in the group `profile_pipelines.sources`."""
    options: dict[str, Text] = {}
    """The keyword arguments of the function."""
    timeout: Timeout = timedelta(minutes=30)
    """How long to wait for the first records, and for the next ones each time."""
    zone: Zone = "UTC"
    """The time zone of times that bear none, such as Europe/Berlin."""


Connection = Annotated[
    SqlConnection | RestConnection | FilesConnection | CustomConnection, Field(discriminator="type")
]
