"""The declarations of profile attributes, identifiers and audiences, and the whole catalogue.

The loader (`catalog.load`) reads YAML into these and adds the names that stand as keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any, Literal, cast
from zoneinfo import ZoneInfo

from pydantic import Field, ValidationInfo, field_validator, model_validator

from profile_pipelines.catalog.channels import Channel, MessageLimits
from profile_pipelines.catalog.conditions import Condition
from profile_pipelines.catalog.declaration import Declaration, Duration, Name, Share, Zone
from profile_pipelines.catalog.destinations import Destination
from profile_pipelines.catalog.journeys import Journey, purposes_of
from profile_pipelines.catalog.message_templates import MessageTemplate
from profile_pipelines.catalog.normalise_steps import NormaliseStep
from profile_pipelines.catalog.plain_words import located
from profile_pipelines.catalog.systems import System
from profile_pipelines.catalog.time_zones import zone_named
from profile_pipelines.catalog.tombstones import ErasureSettings
from profile_pipelines.catalog.validity import typed_rules
from profile_pipelines.catalog.values import AttributeType

MergeRule = Literal["priority", "latest", "most_restrictive", "min", "max"]
COMBINING = frozenset({"most_restrictive", "min", "max"})
"""Merge rules in which every record, and so every system, that gives a value decides."""


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
    """How one value is made of several; `most_restrictive` by default for a consent."""
    fresh_within: Duration = Field(examples=["24h"])
    """The age of the last sync beyond which a value counts as stale."""
    ordered: bool = False
    """Of a list: the order of its entries and repeated ones matter. Without it a list is a set."""
    valid: Valid = Valid()
    """What a valid value looks like; others are quarantined."""
    max_invalid: Share = 0.05
    """Above this share of invalid values a sync's values of this attribute are set aside."""
    max_emptied: Share = 0.2
    """Above this share of known values that a sync would take away, they are set aside."""
    max_changed: Share = 0.5
    """Above this share of known values that a sync would replace by others, they are set aside."""
    keep_history: Duration | None = Field(default=None, examples=["400 days"])
    """How long values that were replaced are kept; for ever unless declared."""
    consent: Name | None = None
    """The purpose, such as a channel, for which this boolean is the customer's consent."""
    description: str = ""
    owner: str | None = None

    @property
    def is_set(self) -> bool:
        """Whether its values are sets: lists whose order says nothing."""
        return self.type == "list" and not self.ordered

    @model_validator(mode="before")
    @classmethod
    def _consent_is_restrictive(cls, data: Any) -> Any:
        # where systems disagree on a consent, a priority could write to who has withdrawn it
        if isinstance(data, dict) and cast(dict[str, Any], data).get("consent") is not None:
            return {"merge": "most_restrictive", **cast(dict[str, Any], data)}
        return cast(Any, data)

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
    sources: list[Name] = []
    """Whose value is used, where a customer has several: systems in order of trust, then the
    others; of one system that of the newest record."""
    per_profile: Annotated[int, Field(ge=1)] | Literal["unlimited"] | None = None
    """How many different values one profile may have: 1 for the first identifier, `unlimited` for
    the others, unless declared."""
    profiles: int | None = Field(default=None, ge=1)
    """How many profiles, which stronger identifiers tell apart, a value may join; above that it
    joins nobody."""
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

    id: Name | None = Field(default=None, examples=["acme_customers"])
    """What tells this catalogue from others, whose lake and ledger it may not use."""
    timezone: Zone = "UTC"
    """IANA name of the time zone of dates and schedules, such as Europe/Berlin."""
    timezone_attribute: Name | None = None
    """The attribute that names a customer's own time zone, for when and how they are written to."""
    erasure: ErasureSettings = ErasureSettings()
    """What holds for people who were erased."""
    max_cluster: int = Field(default=100, ge=2)
    """Most records that may be joined into one profile; larger clusters are held apart."""
    wait_for_runs: Duration = timedelta(minutes=10)
    """How long a run waits for another one that is at the same journey or destination."""
    parallel: int = Field(default=4, ge=1, le=64)
    """How many systems a run reads side by side."""

    def zone_of(self, values: Mapping[str, object]) -> ZoneInfo:
        """The time zone of a customer with these attribute values, by name; the catalogue's own
        where the attribute is missing or names none."""
        name = values.get(self.timezone_attribute) if self.timezone_attribute else None
        own = zone_named(name) if isinstance(name, str) else None
        return own or ZoneInfo(self.timezone)


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """Everything that a catalogue folder declares. Identifiers stand strongest first."""

    settings: Settings = field(default_factory=Settings)
    identifiers: dict[str, Identifier]
    attributes: dict[str, Attribute]
    systems: dict[str, System]
    audiences: dict[str, Audience] = field(default_factory=dict[str, Audience])
    journeys: dict[str, Journey] = field(default_factory=dict[str, Journey])
    destinations: dict[str, Destination] = field(default_factory=dict[str, Destination])
    channels: dict[str, Channel] = field(default_factory=dict[str, Channel])
    limits: MessageLimits = field(default_factory=MessageLimits)
    """What holds over all channels together."""
    templates: dict[str, MessageTemplate] = field(default_factory=dict[str, MessageTemplate])

    @property
    def transactional_purposes(self) -> frozenset[str]:
        """The purposes of transactional messages; no other message has one of them."""
        return frozenset(
            purpose
            for journey in self.journeys.values()
            for _, _, purpose in purposes_of(journey, transactional=True)
            if purpose is not None
        )

    @property
    def values_per_profile(self) -> dict[str, int | None]:
        """By identifier how many different values one profile may have; None: any number."""
        limits: dict[str, int | None] = {}
        for name, identifier in self.identifiers.items():
            default = "unlimited" if limits else 1
            limit = identifier.per_profile or default
            limits[name] = None if limit == "unlimited" else limit
        return limits
