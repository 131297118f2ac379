"""Secrets stay where they belong: which addresses are one place."""

from __future__ import annotations

import pytest

from profile_pipelines.sources.origins import same_origin


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://api.example.com/v1", "https://api.example.com/other?x=1", True),
        ("https://api.example.com", "HTTPS://API.Example.COM:443/v1", True),
        ("http://api.example.com:80", "http://api.example.com", True),
        ("https://api.example.com", "https://api.example.com./v1", True),
        ("https://müller.example", "https://xn--mller-kva.example", True),
        ("https://user:pass@api.example.com", "https://api.example.com", True),
        ("https://api.example.com", "http://api.example.com", False),
        ("https://api.example.com", "https://api.example.com:8443", False),
        ("https://api.example.com:0", "https://api.example.com", False),
        ("https://api.example.com", "https://api.example.com.evil.example", False),
        ("https://api.example.com", "https://api.example.com@evil.example", False),
        ("https://api.example.com", "https://api.example.com:port", False),
    ],
)
def test_an_origin_is_scheme_host_and_port(one: str, other: str, same: bool) -> None:
    """As RFC 6454 has it: default ports and the case of letters make no difference."""
    assert same_origin(one, other) is same
    assert same_origin(other, one) is same
