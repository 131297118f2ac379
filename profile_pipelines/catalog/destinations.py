"""Destinations: where the members of an audience are delivered, and what is told of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, cast

from pydantic import BeforeValidator, Field

from profile_pipelines.catalog.connections import Rate
from profile_pipelines.catalog.declaration import (
    DatabaseAddress,
    Declaration,
    Duration,
    Name,
    Secret,
    Text,
    WebAddress,
)

PersonId = Literal["id", "email", "cio_id"]


class _Files(Declaration):
    """A file of all who are delivered, and files of what changed."""

    folder: str | None = None
    """Where the files go; by default `exports/<destination>` beside the lake."""
    keep_changes: Duration = timedelta(days=30)
    """How long the files of changes stay (in Delta Lake: the files of former versions)."""


class CsvFiles(_Files):
    """Comma-separated values in UTF-8, safe to open in a spreadsheet program."""

    type: Literal["csv"]


class ParquetFiles(_Files):
    type: Literal["parquet"]


class DeltaTable(_Files):
    """A Delta Lake table whose versions are the deliveries."""

    type: Literal["delta"]


class SqlTable(Declaration):
    """A table in any database that SQLAlchemy reaches; it is made when it isn't there."""

    type: Literal["sql"]
    url: DatabaseAddress
    table: str = Field(pattern=r"^\w+(\.\w+)?$", max_length=127, examples=["marketing.renewals"])
    """The table, perhaps with its schema."""


class ApiTarget(Declaration):
    """What all destinations over HTTP have."""

    rate_limit: Rate | None = None
    """At most so many requests, such as `100 per minute`; shared on this machine."""
    retries: int = Field(default=4, ge=0, le=20)
    """How often a request is tried again in one run after a passing fault."""
    timeout: Duration = Field(default=timedelta(seconds=60), gt=timedelta(0))
    allow_private: bool | list[str] = False
    """Whether the address may be private or loopback; or only these hosts may."""


class WebhookTarget(ApiTarget):
    """Signed POSTs of JSON with an Idempotency-Key: a batch of added or removed customers each."""

    type: Literal["webhook"]
    url: WebAddress
    secret: Secret
    """Signs each call: HMAC-SHA256 of `<timestamp>.<body>`, in the header Webhook-Signature."""
    headers: dict[str, Text] = {}


class Braze(ApiTarget):
    """A custom attribute of Braze's users that is true for members."""

    type: Literal["braze"]
    url: WebAddress = Field(examples=["https://rest.iad-01.braze.com"])
    """The REST endpoint of the workspace."""
    api_key: Secret
    external_id: Name = Field(examples=["customer_id"])
    """The identifier or attribute that Braze knows as `external_id`."""
    attribute: str = Field(examples=["in_renewal_audience"])
    """The custom attribute."""


class CustomerIo(ApiTarget):
    """A manual segment of Customer.io."""

    type: Literal["customer_io"]
    url: WebAddress = "https://track.customer.io"
    """The Track API; in Europe `https://track-eu.customer.io`."""
    site_id: Text
    api_key: Secret
    segment: int = Field(gt=0)
    """The number of the manual segment."""
    person: Name = Field(examples=["email"])
    """The identifier or attribute by which Customer.io knows a person."""
    id_type: PersonId = "id"
    """What kind of identifier that is."""


class HubSpotList(ApiTarget):
    """A static list of HubSpot's contacts."""

    type: Literal["hubspot_list"]
    url: WebAddress = "https://api.hubapi.com"
    token: Secret
    """The token of a private app with the scopes crm.lists.read, crm.lists.write and
    crm.objects.contacts.read."""
    list_id: int = Field(gt=0)
    """The number of the list; its type must be MANUAL or SNAPSHOT."""
    contact: Name = Field(examples=["email"])
    """The identifier or attribute by which HubSpot knows a contact."""
    id_type: Literal["record_id", "email"] = "email"
    """What kind of identifier that is."""


class _Hashed(ApiTarget):
    """Customers are told as SHA-256 of their normalised identifiers."""

    calling_code: str | None = Field(default=None, pattern=r"^[1-9]\d{0,2}$", examples=["49"])
    """The country's calling code, for telephone numbers that are written without one."""


class MetaAudience(_Hashed):
    """A custom audience of Meta (Facebook, Instagram)."""

    type: Literal["meta_audience"]
    url: WebAddress = "https://graph.facebook.com/v25.0"
    access_token: Secret
    audience_id: str = Field(pattern=r"^\d+$")
    """The number of the custom audience, as text."""


class GoogleCustomerMatch(_Hashed):
    """A Customer Match list of Google, over the Data Manager API."""

    type: Literal["google_customer_match"]
    url: WebAddress = "https://datamanager.googleapis.com"
    client_id: Text
    client_secret: Secret
    refresh_token: Secret
    """With client_id and client_secret: the OAuth client and what its user granted, for the scope
    `https://www.googleapis.com/auth/datamanager`."""
    login_url: WebAddress = "https://oauth2.googleapis.com/token"
    account_id: str = Field(pattern=r"^\d+$")
    """The advertiser's account in Google Ads, without hyphens."""
    login_account_id: str | None = Field(default=None, pattern=r"^\d+$")
    """The manager account through which it is reached."""
    audience_id: str = Field(pattern=r"^\d+$")
    """The number of the user list, as text."""


Target = Annotated[
    CsvFiles | ParquetFiles | DeltaTable | SqlTable | WebhookTarget | Braze | CustomerIo
    | HubSpotList | MetaAudience | GoogleCustomerMatch,
    Field(discriminator="type"),
]  # fmt: skip


def _columns(value: object) -> object:
    if not isinstance(value, list):
        return value
    return {str(name): str(name) for name in cast(list[object], value)}


class Destination(Declaration):
    """Where the members of an audience are delivered, as changes since the last time."""

    destination: Name = Field(examples=["renewal_calls"])
    """The destination's name."""
    description: str = ""
    owner: str | None = None
    audience: Name
    """Who is delivered: the members of this audience."""
    consent: Name
    """The purpose that a customer must have consented to, at the moment of each delivery."""
    columns: Annotated[
        dict[Name, str],
        BeforeValidator(_columns, json_schema_input_type=dict[Name, str] | list[Name]),
    ] = {}
    """What is told: attributes and identifiers, with the names that the destination has for them;
    or only a list of them."""
    batch_size: int | None = Field(default=None, gt=0)
    """How many customers are told together; by default as many as the destination takes."""
    to: Target
    """The place."""

    @property
    def key(self) -> Name | None:
        """The attribute or identifier by which the destination knows a customer; None where that
        is the profile's own number, or all columns together."""
        match self.to:
            case Braze():
                return self.to.external_id
            case CustomerIo():
                return self.to.person
            case HubSpotList():
                return self.to.contact
            case _:
                return None

    @property
    def is_ours(self) -> bool:
        """Whether it lies in files that this project keeps itself."""
        return isinstance(self.to, _Files)

    @property
    def told(self) -> list[Name]:
        """The attributes and identifiers that are read."""
        key = self.key
        return [*self.columns, *([key] if key is not None and key not in self.columns else [])]
