"""The two syncs that an aggregating one consists of, as catalogues of their own.

Its child records are landed like any records, their fields being the attributes. What is
aggregated of them is landed like the records of one more system, a record for each customer.
"""

from __future__ import annotations

from dataclasses import replace

from profile_pipelines.catalog.aggregate_checks import child_attributes
from profile_pipelines.catalog.aggregates import ChildField
from profile_pipelines.catalog.models import Catalogue, Identifier
from profile_pipelines.catalog.systems import SourceField, Sync
from profile_pipelines.lake import Lake
from profile_pipelines.lake.lake import source_columns
from profile_pipelines.lake.table import LakeTable


def children_catalogue(catalogue: Catalogue, system: str, name: str) -> Catalogue:
    """The catalogue in which the sync brings child records with their fields."""
    declared = catalogue.systems[system].syncs[name]
    # some field has to tell how far the children were read
    known = declared.fields or {"child": ChildField(type="string", field=declared.key)}
    fields = {
        field: SourceField(field=each.field or field, convert=each.convert)
        for field, each in known.items()
    }
    sync = declared.model_copy(update={"fields": {}, "attributes": fields})
    attributes = child_attributes(known, system)
    return replace(_with(catalogue, system, name, sync), attributes=attributes)


def customers_catalogue(catalogue: Catalogue, system: str, name: str) -> Catalogue:
    """The catalogue in which the sync brings a record for each customer, already normalised."""
    declared = catalogue.systems[system].syncs[name]
    sync = Sync(
        identifiers={identifier: identifier for identifier in declared.identifiers},
        updated_at="updated_at",
        attributes={attribute: SourceField(field=attribute) for attribute in declared.attributes},
    )
    as_they_are = {identifier: Identifier(normalise=[]) for identifier in declared.identifiers}
    return replace(_with(catalogue, system, name, sync), identifiers=as_they_are)


def children_table(catalogue: Catalogue, lake: Lake, system: str, name: str) -> LakeTable:
    """The lake's table of the child records."""
    view = children_catalogue(catalogue, system, name)
    columns = source_columns(view.systems[system].syncs[name], view.attributes)
    return LakeTable(lake.root, f"children/{system}/{name}", ["record_id"], columns)


def _with(catalogue: Catalogue, system: str, name: str, sync: Sync) -> Catalogue:
    declared = catalogue.systems[system].model_copy(update={"syncs": {name: sync}})
    return replace(catalogue, systems={system: declared})
