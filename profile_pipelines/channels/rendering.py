"""From messages in the outbox to what their customers read, with the values of this moment."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from profile_pipelines.catalog.message_templates import MessageTemplate, environment
from profile_pipelines.profiles.values import Values

if TYPE_CHECKING:
    from jinja2 import Template


class Rendering:
    """A template that is ready to be filled in. Raises nothing: the catalogue's check has read it.

    `now` and `timezone` make `today`.
    """

    def __init__(self, template: MessageTemplate, now: datetime, timezone: ZoneInfo) -> None:
        self._template = template
        self._today = now.astimezone(timezone).date()

    def rendered(
        self, values: Values, *, journey: str, unsubscribe_url: str | None
    ) -> tuple[str, str, str | None]:
        """Subject, text and HTML for one customer. Raises jinja2.TemplateError."""
        told = {
            **values,
            "today": self._today,
            "journey": journey,
            "unsubscribe_url": unsubscribe_url,
        }
        html = self._html.render(told) if self._html is not None else None
        return self._subject.render(told).strip(), self._text.render(told), html

    @cached_property
    def _subject(self) -> Template:
        return environment(html=False).from_string(self._template.subject)

    @cached_property
    def _text(self) -> Template:
        return environment(html=False).from_string(self._template.text)

    @cached_property
    def _html(self) -> Template | None:
        html = self._template.html
        return None if html is None else environment(html=True).from_string(html)
