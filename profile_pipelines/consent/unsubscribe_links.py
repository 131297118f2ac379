"""The links by which customers unsubscribe: a profile, a purpose and the address that the mail
went to (as a keyed hash) under a signature; and the ledger's mark of that time.

A link holds nothing personal and never ends: a mail may be opened years later. By the mark it is
known whether the profile's number is that profile's still, after a ledger was put back.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from base64 import urlsafe_b64encode
from dataclasses import dataclass

from profile_pipelines.errors import ChannelError

URL = "PROFILE_PIPELINES_UNSUBSCRIBE_URL"
"""The environment's name for the public address before `/unsubscribe/…`, without a slash."""
KEY = "PROFILE_PIPELINES_UNSUBSCRIBE_KEY"
"""The environment's name for the secret that signs; links are void when it changes."""
_SHORTEST_KEY = 32
_TOKEN = 12
"""How many signs of a mark's token stand in a link."""


@dataclass(frozen=True)
class Asked:
    """What a link asks for: to unsubscribe a profile, and an address (its keyed hash), from a
    purpose. Links that were made before addresses, or marks of the ledger, stood in them have none.
    """

    profile_id: int
    purpose: str
    address: str | None = None
    mark: tuple[int, str] | None = None
    """The mark at which the ledger was, and the beginning of its token."""


@dataclass(frozen=True)
class UnsubscribeLinks:
    """Makes and reads links. `key` is secret; `url` is the public address."""

    url: str
    key: str

    @classmethod
    def from_environment(cls) -> UnsubscribeLinks | None:
        """As the environment says; None where neither is set. Raises ChannelError for half."""
        url, key = os.environ.get(URL, "").rstrip("/"), os.environ.get(KEY, "")
        if not url and not key:
            return None
        if not url or len(key) < _SHORTEST_KEY:
            raise ChannelError(
                f"unsubscribe links need both {URL} (the public address) and {KEY} "
                f"(a secret of at least {_SHORTEST_KEY} characters, such as "
                "`openssl rand -hex 32` prints)"
            )
        if not url.startswith("https://") and not url.startswith("http://127.0.0.1"):
            # RFC 8058, section 3.1: the header must contain one HTTPS URI
            raise ChannelError(f"{URL} must begin with https://")
        return cls(url, key)

    def link(
        self,
        profile_id: int,
        purpose: str,
        address: str | None = None,
        mark: tuple[int, str] | None = None,
    ) -> str:
        """The page that unsubscribes a profile, and an address (its keyed hash), from a purpose.

        `mark` is the ledger's, when the profile had this number.
        """
        content = f"{profile_id}.{purpose}"
        if address or mark:
            content += f".{address or ''}"
        if mark:
            content += f".{mark[0]}-{mark[1][:_TOKEN]}"
        return f"{self.url}/unsubscribe/{content}.{self._signature(content)}"

    def read(self, token: str) -> Asked | None:
        """What a token asks for; None when it isn't one of ours."""
        content, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(content).encode()):
            return None
        profile_id, purpose, address, mark = [*content.split("."), "", ""][:4]
        number, _, told = mark.partition("-")
        found = (int(number), told) if mark else None
        return Asked(int(profile_id), purpose, address or None, found)

    def _signature(self, content: str) -> str:
        told = f"unsubscribe:{content}".encode()
        digest = hmac.new(self.key.encode(), told, hashlib.sha256).digest()
        return urlsafe_b64encode(digest).rstrip(b"=").decode()
