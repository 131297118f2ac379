"""Where a lake lies: a folder, or a prefix in an object store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

from profile_pipelines.errors import LakeError

if TYPE_CHECKING:
    from upath import UPath

Place: TypeAlias = "Path | UPath"

_PACKAGES = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "az": "azure",
    "abfs": "azure",
    "abfss": "azure",
}
"""Object stores that both Delta Lake and fsspec know, with the extra that brings them."""


def lake_place(text: str, what: str = "lake") -> Place:
    """The place that a path or an object-store URL names; a path is made absolute. `what` is to
    lie there.

    Credentials and endpoints come from the store's usual environment variables
    (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, `GOOGLE_APPLICATION_CREDENTIALS`, …), which both
    readers and writers honour. Raises LakeError for a URL that nothing installed can reach.
    """
    if "://" not in text:
        return Path(text).resolve()
    scheme = urlsplit(text).scheme
    extra = _PACKAGES.get(scheme)
    if extra is None:
        raise LakeError(
            f"the {what} can't lie at a {scheme}:// URL; name a folder or one of "
            + ", ".join(f"{known}://" for known in _PACKAGES)
        )
    from upath import UPath

    try:
        place = UPath(text, use_listings_cache=False)
        _ = place.fs  # imports the package that reaches the store
    except (ImportError, ValueError) as error:
        raise LakeError(
            f"nothing installed reaches {scheme}:// ({type(error).__name__}); "
            f"pip install 'profile-pipelines[{extra}]'"
        ) from None
    return place
