"""From messages in the outbox to what their customers read, with the values of this moment."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from profile_pipelines.catalog.message_templates import MessageTemplate, environment
from profile_pipelines.catalog.spelling import local_time
from profile_pipelines.errors import RenderingError
from profile_pipelines.profiles.values import Values

if TYPE_CHECKING:
    from jinja2 import Template

_FAULTS = (TypeError, ValueError, ArithmeticError, AttributeError, LookupError, RecursionError)
"""What a template can come to with some customer's values, beside Jinja's own errors."""


class Rendering:
    """A template that is ready to be filled in. Raises nothing: the catalogue's check has read it.

    `now` is what `today` comes from.
    """

    def __init__(self, template: MessageTemplate, now: datetime) -> None:
        self._template = template
        self._now = now

    def rendered(
        self, values: Values, zone: ZoneInfo, *, journey: str, unsubscribe_url: str | None
    ) -> tuple[str, str, str | None]:
        """Subject, text and HTML for one customer, whose clocks are those of `zone`.

        Raises RenderingError, without the values.
        """
        from jinja2 import TemplateError

        from profile_pipelines.catalog.template_language import told

        given = {
            **values,
            "today": local_time(self._now, zone).date(),
            "journey": journey,
            "unsubscribe_url": unsubscribe_url,
        }
        given = {name: told(value, zone) for name, value in given.items()}
        try:
            html = self._html.render(given) if self._html is not None else None
            return self._subject.render(given).strip(), self._text.render(given), html
        except (TemplateError, *_FAULTS) as error:
            raise RenderingError(
                f"the template {self._template.name} fails with this customer's values "
                f"({type(error).__name__}): check what it does with them"
            ) from None

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
