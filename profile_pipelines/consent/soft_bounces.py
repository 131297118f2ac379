"""From how many soft bounces on an address is suppressed, by channel."""

from __future__ import annotations

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.ledger.feedback import SoftRule


def soft_rules(catalogue: Catalogue) -> dict[str, SoftRule]:
    """The rule of each channel; the default where it declares none."""
    return {
        name: SoftRule()
        if channel.feedback is None
        else SoftRule(channel.feedback.soft.after, channel.feedback.soft.within)
        for name, channel in catalogue.channels.items()
    }
