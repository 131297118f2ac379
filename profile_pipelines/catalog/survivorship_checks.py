"""Does a sync's `winner` fit its attributes, and may conditions mix several records' values?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from profile_pipelines.catalog.conditions import Condition, attributes_of
from profile_pipelines.catalog.journeys import Journey, steps_of
from profile_pipelines.catalog.mistakes import Path, did_you_mean, in_words
from profile_pipelines.catalog.models import COMBINING, Attribute, Catalogue
from profile_pipelines.catalog.survivorship import UPDATED_AT, column_of
from profile_pipelines.catalog.systems import Sync


def survivorship_mistakes(
    sync: Sync, attributes: Mapping[str, Attribute]
) -> Iterator[tuple[Path, str]]:
    """What is wrong, each with its path below the sync."""
    if sync.survivorship == "record" and sync.is_aggregating:
        text = "all of an aggregating sync's records count; take it out, or write last with `by`"
        yield ("survivorship",), text
        return
    if sync.winner is None:
        return
    if sync.survivorship != "record":
        yield ("winner",), "says which record wins; write survivorship: record beside it"
        return
    for key in sync.winner.keys:
        column = column_of(key.field, sync)
        if column is None:
            hint = did_you_mean(key.field, [*sync.attributes, UPDATED_AT], all_of="there are")
            yield ("winner",), f"{key.field} is no attribute of this sync{hint}"
        elif column in attributes or column == UPDATED_AT:
            kind = "timestamp" if column == UPDATED_AT else attributes[column].type
            if key.words and kind != "string":
                yield ("winner",), f"orders words, but the type of {key.field} is {kind}"
            elif kind == "list":
                yield ("winner",), f"needs values in order; the type of {key.field} is list"


def survivorship_notes(catalogue: Catalogue) -> Iterator[str]:
    """What is no mistake but may surprise: conditions on attributes of one sync that may come from
    different records of a customer, since the sync doesn't say which survives."""
    conditions = {
        **{f"audience {name}": [each.where] for name, each in catalogue.audiences.items()},
        **{f"journey {name}": _conditions(each) for name, each in catalogue.journeys.items()},
    }
    for system, declared in catalogue.systems.items():
        for name, sync in declared.syncs.items():
            if not _may_mix(catalogue, sync):
                continue
            alone = {n for n in sync.attributes if catalogue.attributes[n].merge not in COMBINING}
            mixed = [
                f"{in_words(sorted(asked))} ({where})"
                for where, several in conditions.items()
                for asked in [max((attributes_of(c) & alone for c in several), key=len, default=())]
                if len(asked) > 1
            ]
            if mixed:
                yield (
                    f"{system}.{name}: a customer's records may differ, and a condition may then "
                    f"mix them: {'; '.join(mixed)}. Write survivorship: record, so that all values "
                    "are one record's, or survivorship: attribute where each may be of another"
                )


def _conditions(journey: Journey) -> list[Condition]:
    asked = [journey.enter_when, journey.exit_when]
    for _, step in steps_of(journey):
        if step.wait is not None and isinstance(step.wait.until, Condition):
            asked.append(step.wait.until)
        asked += [arm.when for arm in step.branch or ()]
    return [each for each in asked if each is not None]


def _may_mix(catalogue: Catalogue, sync: Sync) -> bool:
    """Whether a customer may have several records, of which nobody said how they go together."""
    if "survivorship" in sync.model_fields_set or sync.is_aggregating or sync.key is None:
        return False
    strongest = sync.identifiers.get(next(iter(catalogue.identifiers)))
    return strongest is None or strongest.field != sync.key.field
