"""How a system is reached: databases, HTTP APIs with their authentication and paging, files."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from profile_pipelines.catalog.declaration import Declaration, Duration, Secret, Text


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
    password: Secret | None = None
    """Left out where the username is the whole secret."""


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
    options: dict[str, Text] = {}
    """What the object store needs: region, endpoint, credentials."""


Connection = Annotated[
    SqlConnection | RestConnection | FilesConnection, Field(discriminator="type")
]
