"""What a run of the pipeline did, for people and programs."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from profile_pipelines.activation.deliver import DeliveryResult
    from profile_pipelines.audiences.materialise import AudienceResult
    from profile_pipelines.channels.dispatch import DispatchResult
    from profile_pipelines.consent.bounces import BouncesResult
    from profile_pipelines.identity import IdentitiesResult
    from profile_pipelines.journeys.tick import TickResult
    from profile_pipelines.landing import SyncResult
    from profile_pipelines.landing.named import NamedResult
    from profile_pipelines.profiles.merge import ProfilesResult


@dataclass
class RunReport:
    """The results of a run's steps, in the order in which they ended.

    `now` is the moment that the run took for the present (UTC). `errors` holds what to tell people
    about the steps that failed: `system.sync`, `checks.system`, `identities`, `profiles`,
    `audiences.name`, `destinations.name`, `journeys.name`, `outbox`. `run_ids` are Dagster's.
    """

    now: datetime
    syncs: list[SyncResult] = field(default_factory=list)
    named: list[NamedResult] = field(default_factory=list)
    identities: IdentitiesResult | None = None
    profiles: ProfilesResult | None = None
    audiences: list[AudienceResult] = field(default_factory=list)
    deliveries: list[DeliveryResult] = field(default_factory=list)
    journeys: list[TickResult] = field(default_factory=list)
    bounces: list[BouncesResult] = field(default_factory=list)
    dispatch: DispatchResult | None = None
    errors: dict[str, str] = field(default_factory=dict)
    stores_failed: bool = False
    """Whether any of the errors is that the lake, the ledger or the disk can't be used."""
    run_ids: list[str] = field(default_factory=list)
    clock: str = ""
    """What to tell people of a clock that was put back; empty where none was."""

    @property
    def ok(self) -> bool:
        """Whether every step ended well. An attribute that was set aside is no error here."""
        return not self.errors

    @property
    def set_aside(self) -> list[tuple[str, str]]:
        """(system, attribute) that were set aside, whose last good values stay."""
        return [
            (result.system, name)
            for result in self.syncs
            for name, entry in result.attributes.items()
            if entry.set_aside
        ]

    @property
    def set_anything_aside(self) -> bool:
        """Whether anything that was read stays out, so that the last good values stand."""
        return bool(self.set_aside) or any(each.set_aside for each in [*self.syncs, *self.named])

    @property
    def needs_a_word(self) -> dict[str, str]:
        """What to tell people of messages that wait for their word: those of unknown fate, and
        those that are kept back; empty where there are none."""
        return {} if self.dispatch is None else self.dispatch.needs_a_word

    @property
    def wrote_anything(self) -> bool:
        """Whether any record, profile, membership, delivery, enrolment or message is another."""
        return (
            any(result.changed or result.deleted for result in [*self.syncs, *self.named])
            or (self.identities is not None and self.identities.changed > 0)
            or (self.profiles is not None and self.profiles.wrote)
            or any(result.wrote for result in self.audiences)
            or any(result.wrote for result in self.deliveries)
            or any(result.wrote for result in self.journeys)
            or any(result.new for result in self.bounces)
            or (self.dispatch is not None and bool(self.dispatch.counts))
        )
