"""Mistakes in who tells a channel's bounces, each with its line and what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from profile_pipelines_tests.catalog.folders import VALID, mistakes_in, write_catalogue

HEAD = "channels:\n  mail:\n    type: file\n    to: email\n    feedback: "


@pytest.mark.parametrize(
    "feedback",
    [
        "{provider: ses, topic: 'arn:aws:sns:eu-central-1:123456789012:feedback'}",
        "{provider: ses, topic: 'arn:aws-cn:sns:cn-north-1:123456789012:f', tolerance: 10m}",
        "{provider: sendgrid, public_key: [{env: OLD}, {env: NEW}]}",
        "{provider: postmark, username: hook, password: {env: P}}",
        "{provider: postmark, header: X-Token, token: {env: T}}",
        "{provider: mailgun, signing_key: {env: K}, soft: {after: 3, within: 14 days}}",
    ],
)
def test_each_provider_is_declared_so(tmp_path: Path, feedback: str) -> None:
    """Secrets as environment variables; several where one is being replaced."""
    folder = write_catalogue(tmp_path, **VALID, **{"channels.yaml": HEAD + feedback + "\n"})
    assert mistakes_in(folder) == []


@pytest.mark.parametrize(
    ("feedback", "told"),
    [
        ("{provider: sess, topic: t}", "channels.mail.feedback"),
        ("{provider: ses, topic: feedback}", "channels.mail.feedback.topic"),
        ("{provider: ses}", "topic: is missing"),
        ("{provider: mailgun, signing_key: key-123}", "env: NAME"),
        ("{provider: postmark, username: hook}", "needs username and password, or header and"),
        ("{provider: mailgun, signing_key: {env: K}, soft: {after: 0}}", "soft.after"),
        ("{provider: mailgun, signing_key: {env: K}, tolerance: 30 days}", "tolerance"),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path: Path, feedback: str, told: str) -> None:
    """Unknown providers, topics that are none, secrets in plain, half a login."""
    folder = write_catalogue(tmp_path, **VALID, **{"channels.yaml": HEAD + feedback + "\n"})
    [mistake] = mistakes_in(folder)
    assert mistake.startswith("channels.yaml:5: ")
    assert told in mistake


def test_feedback_needs_an_address(tmp_path: Path) -> None:
    """A channel that names none can't be told of any."""
    text = HEAD.replace("    to: email\n", "") + "{provider: mailgun, signing_key: {env: K}}\n"
    folder = write_catalogue(tmp_path, **VALID, **{"channels.yaml": text})
    told = "channels.yaml:4: channels.mail.feedback: is about addresses; say which in `to`"
    assert mistakes_in(folder) == [told]
