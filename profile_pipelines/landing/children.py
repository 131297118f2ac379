"""The two syncs that an aggregating one consists of, as catalogues of their own.

Its child records are landed like any records, their fields being the attributes. What is
aggregated of them is landed like the records of one more system, a record for each customer.
"""

from __future__ import annotations

from dataclasses import replace

from profile_pipelines.catalog.aggregate_checks import child_attributes
from profile_pipelines.catalog.aggregates import CHILDLESS, ChildField
from profile_pipelines.catalog.mapped_fields import IdentifierField, MappedField
from profile_pipelines.catalog.models import Catalogue, Identifier
from profile_pipelines.catalog.systems import SourceField, Sync
from profile_pipelines.catalog.values import AttributeType
from profile_pipelines.lake import Lake
from profile_pipelines.lake.lake import source_columns
from profile_pipelines.lake.table import LakeTable


def children_catalogue(catalogue: Catalogue, system: str, name: str) -> Catalogue:
    """The catalogue in which the sync brings child records with their fields."""
    declared = catalogue.systems[system].syncs[name]
    key = declared.key
    # some field has to tell how far the children were read
    known = declared.fields or {"child": ChildField(type="string", **(key.declared if key else {}))}
    fields = {field: SourceField(**each.under(field)) for field, each in known.items()}
    sync = declared.model_copy(update={"fields": {}, "attributes": fields})
    ordered = {
        each.aggregate.last
        for attribute, each in declared.attributes.items()
        if each.aggregate is not None and each.aggregate.last is not None
        if catalogue.attributes[attribute].ordered
    }
    attributes = child_attributes(known, system, ordered)
    return replace(_with(catalogue, system, name, sync), attributes=attributes)


def customers_catalogue(catalogue: Catalogue, system: str, name: str) -> Catalogue:
    """The catalogue in which the sync brings a record for each customer, already normalised."""
    declared = catalogue.systems[system].syncs[name]
    columns: dict[str, AttributeType] = {**declared.order_columns, CHILDLESS: "boolean"}
    sync = Sync(
        identifiers={name: IdentifierField(field=name) for name in declared.identifiers},
        updated_at=MappedField(field="updated_at"),
        attributes={},
    )
    values = {each: SourceField(field=each) for each in (*declared.attributes, *columns)}
    # not checked: the names of the columns are no attributes'
    sync = sync.model_copy(update={"attributes": values})
    as_they_are = {identifier: Identifier(normalise=[]) for identifier in declared.identifiers}
    beside = child_attributes({n: ChildField(type=kind) for n, kind in columns.items()}, system)
    return replace(
        _with(catalogue, system, name, sync),
        identifiers=as_they_are,
        attributes={**catalogue.attributes, **beside},
    )


def children_table(catalogue: Catalogue, lake: Lake, system: str, name: str) -> LakeTable:
    """The lake's table of the child records."""
    view = children_catalogue(catalogue, system, name)
    columns = source_columns(view.systems[system].syncs[name], view.attributes)
    return lake.table(f"children/{system}/{name}", ["record_id"], columns)


def _with(catalogue: Catalogue, system: str, name: str, sync: Sync) -> Catalogue:
    declared = catalogue.systems[system].model_copy(update={"syncs": {name: sync}})
    return replace(catalogue, systems={system: declared})
