"""Where a value stands in a source's record: in one field, or in several that are joined."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, cast

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from profile_pipelines.catalog.convert_steps import ConvertStep
from profile_pipelines.catalog.declaration import Declaration


def _field_or_join(schema: dict[str, Any]) -> None:
    schema["required"] = [name for name in schema["required"] if name != "field"]
    if not schema["required"]:
        del schema["required"]


FURTHER = "__further"


def further_column(identifier: str) -> str:
    """The column, of a sync's records, of an identifier's values beside the first."""
    return f"{identifier}{FURTHER}"


class MappedField(Declaration):
    """Where a value stands in a record, a column or a path, and how it is converted.

    Of a value that is joined, `field` is a name that tells of its parts: `{first} {last}`.
    """

    model_config = ConfigDict(json_schema_extra=_field_or_join)

    field: str = Field(examples=["account_status"])
    join: list[Annotated[str, Field(min_length=1)]] = Field(
        default=[], min_length=2, examples=[["first_name", "last_name"]]
    )
    """Instead of a field: several, whose texts make the value."""
    with_: str = Field(default=" ", alias="with")
    """What stands between the texts that are joined."""
    convert: list[ConvertStep] = []
    """The steps, in order, that turn what stands there into what is wanted."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        """Give what is joined its name."""
        if not isinstance(value, dict):
            return value
        given = cast("dict[str, object]", value)
        if "join" not in given:
            if "with" in given:
                raise ValueError("`with` goes with `join`, the fields that it stands between")
            return given
        if given.get("field"):
            raise ValueError("takes `field` or `join`, not both")
        parts, between = given["join"], given.get("with", " ")
        texts = [f"{{{part}}}" for part in cast("list[object]", parts)] if _is_list(parts) else []
        return {**given, "field": str(between).join(texts)}

    @classmethod
    def read(cls, value: object) -> object:
        """Let a plain text stand for `{field: text}`."""
        if not isinstance(value, str | dict | MappedField):
            raise ValueError("must be a field's name or path, or {field: …, convert: […]}")
        return {"field": value} if isinstance(value, str) else cast(object, value)

    @property
    def reads(self) -> tuple[str, ...]:
        """The paths of the fields that are read for it."""
        return tuple(self.join) or (self.field,)

    @property
    def declared(self) -> dict[str, Any]:
        """Its declaration, with the place and the steps."""
        if not self.join:
            return {"field": self.field, "convert": self.convert}
        return {"join": self.join, "with": self.with_, "convert": self.convert}

    @property
    def as_written(self) -> object:
        """As YAML has it: the field alone, or with its steps."""
        if not self.join and not self.convert:
            return self.field
        written = self.model_dump(mode="json", exclude_unset=True, by_alias=True)
        return {k: v for k, v in written.items() if k != "field"} if self.join else written

    def of(self, record: Mapping[str, object]) -> object:
        """What stands there in a record of texts by path, before any step; None where nothing."""
        if not self.join:
            return record.get(self.field)
        texts = [str(record[part]).strip() for part in self.join if record.get(part) is not None]
        return self.with_.join(text for text in texts if text) or None


class IdentifierField(MappedField):
    """Where a record says whose it is."""

    many: bool = False
    """The field has several values, each of which is the customer's: a list of addresses, say."""


Mapped = Annotated[
    MappedField, BeforeValidator(MappedField.read, json_schema_input_type=str | MappedField)
]


MappedIdentifier = Annotated[
    IdentifierField,
    BeforeValidator(MappedField.read, json_schema_input_type=str | IdentifierField),
]


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)
