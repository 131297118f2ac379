"""Folders and object stores by URL, with one set of options for Arrow, Delta and Iceberg.

The options bear the names that Delta Lake's own storage options have (those of the `object_store`
library), so that one mapping in the catalogue opens plain files and Delta tables alike.
S3, Google Cloud Storage and Azure are read by Arrow, whose calls don't block other threads;
any other scheme by its fsspec package, whose own keyword arguments are the options then.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from pyarrow import fs

_RETRIED = timedelta(seconds=30)
_CONNECT_SECONDS, _REQUEST_SECONDS = 10, 60
_ATTEMPTS = 4

_S3 = {
    "aws_access_key_id": "access_key",
    "aws_secret_access_key": "secret_key",
    "aws_session_token": "session_token",
    "aws_region": "region",
    "aws_endpoint_url": "endpoint_override",
    "aws_virtual_hosted_style_request": "force_virtual_addressing",
    "aws_skip_signature": "anonymous",
}
_GOOGLE = {
    "google_base_url": "endpoint_override",
    "google_skip_signature": "anonymous",
}
_AZURE = {
    "azure_storage_account_name": "account_name",
    "azure_storage_account_key": "account_key",
    "azure_storage_sas_token": "sas_token",
    "azure_storage_tenant_id": "tenant_id",
    "azure_storage_client_id": "client_id",
    "azure_storage_client_secret": "client_secret",
    "azure_storage_endpoint": "endpoint",
}
OPTIONS: dict[str, dict[str, str]] = {
    **dict.fromkeys(("s3", "s3a"), _S3),
    **dict.fromkeys(("gs", "gcs"), _GOOGLE),
    **dict.fromkeys(("az", "abfs", "abfss", "azure"), _AZURE),
}
"""The options of each scheme that Arrow reads, with Arrow's names for them."""


class OptionError(ValueError):
    """Options that the URL's scheme doesn't have, or doesn't understand; no value is quoted."""


def is_local(url: str) -> bool:
    """Whether it's a path on this machine's disks rather than a URL."""
    return "://" not in url


def shown(url: str) -> str:
    """The URL as people may see it: without user, password or options."""
    if is_local(url):
        return url
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def option_mistakes(url: str, options: Mapping[str, object]) -> dict[str, str]:
    """What is wrong with each option that the URL's scheme doesn't have."""
    if is_local(url):
        return dict.fromkeys(options, "a folder has no options; they are for object stores")
    known = OPTIONS.get(urlsplit(url).scheme)
    if known is None:
        return {}
    mistakes: dict[str, str] = {}
    for name in options:
        if name not in known:
            near = get_close_matches(name.lower(), known, n=1, cutoff=0.6)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
            mistakes[name] = f"no option of {urlsplit(url).scheme}://; {hint}"
    return mistakes


def open_store(url: str, options: Mapping[str, str]) -> tuple[fs.FileSystem, str]:
    """Arrow's file system for the URL, and the path that the URL names in it.

    Nothing is contacted yet. Raises `OptionError`, and ImportError when the scheme is unknown or
    the fsspec package for it isn't installed.
    """
    from pyarrow import fs

    mistakes = option_mistakes(url, options)
    if mistakes:
        raise OptionError("; ".join(f"{name}: {text}" for name, text in mistakes.items()))
    if is_local(url):
        return fs.LocalFileSystem(), Path(url).resolve().as_posix()
    parts = urlsplit(url)
    given = {
        wanted: _value(options[name])
        for name, wanted in OPTIONS.get(parts.scheme, {}).items()
        if name in options
    }
    path = f"{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")
    match parts.scheme:
        case "s3" | "s3a":
            return _s3(given), path
        case "gs" | "gcs":
            return fs.GcsFileSystem(retry_time_limit=_RETRIED, **_endpoint(given)), path
        case "az" | "abfs" | "abfss" | "azure":
            return _azure(given, parts.netloc), _azure_path(parts.netloc, parts.path)
        case "file":
            return fs.LocalFileSystem(), Path(parts.path).resolve().as_posix()
        case _:
            return _by_fsspec(url, options)


def delta_options(url: str, options: Mapping[str, str]) -> dict[str, str]:
    """The options as Delta Lake takes them: bounded retries, plain http where it is named."""
    if urlsplit(url).scheme not in OPTIONS:
        return dict(options)
    endpoints = [value for name, value in options.items() if name.endswith(("_url", "_endpoint"))]
    http = {"allow_http": "true"} if any(e.startswith("http://") for e in endpoints) else {}
    bounds = {"max_retries": str(_ATTEMPTS), "retry_timeout": f"{_RETRIED.seconds}s"}
    timeouts = {"connect_timeout": f"{_CONNECT_SECONDS}s", "timeout": f"{_REQUEST_SECONDS}s"}
    return {**bounds, **timeouts, **http, **options}


def _s3(given: dict[str, Any]) -> fs.FileSystem:
    from pyarrow import fs

    return fs.S3FileSystem(
        **given,
        connect_timeout=_CONNECT_SECONDS,
        request_timeout=_REQUEST_SECONDS,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
    )


def _endpoint(given: dict[str, Any]) -> dict[str, Any]:
    endpoint = given.pop("endpoint_override", None)
    if endpoint is None:
        return given
    parts = urlsplit(endpoint)
    return {**given, "scheme": parts.scheme, "endpoint_override": parts.netloc}


def _azure(given: dict[str, Any], netloc: str) -> fs.FileSystem:
    from pyarrow import fs

    endpoint = given.pop("endpoint", None)
    if endpoint is not None:
        parts = urlsplit(endpoint)
        given |= {
            "blob_storage_scheme": parts.scheme,
            "blob_storage_authority": parts.netloc,
            "dfs_storage_scheme": parts.scheme,
            "dfs_storage_authority": parts.netloc,
        }
    if "@" in netloc:
        given.setdefault("account_name", netloc.partition("@")[2].partition(".")[0])
    if "account_name" not in given:
        raise OptionError("azure_storage_account_name is missing")
    return fs.AzureFileSystem(**given)


def _azure_path(netloc: str, path: str) -> str:
    # abfss://container@account.dfs.core.windows.net/path, or az://container/path
    return f"{netloc.partition('@')[0]}{path}".rstrip("/")


def _by_fsspec(url: str, options: Mapping[str, str]) -> tuple[fs.FileSystem, str]:
    from fsspec.core import url_to_fs
    from pyarrow import fs

    try:
        filesystem, path = url_to_fs(url, **options)
    except ValueError:
        # its text quotes the URL
        raise ImportError(f"no fsspec package reads {urlsplit(url).scheme}://") from None
    except TypeError as error:
        raise OptionError(str(error)) from None
    return fs.PyFileSystem(fs.FSSpecHandler(filesystem)), str(path)


def _value(text: str) -> str | bool:
    return {"true": True, "false": False}.get(text.lower(), text)
