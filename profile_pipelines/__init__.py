"""Customer profile attributes from your business systems, merged with receipts.

>>> import profile_pipelines
>>> customers = profile_pipelines.open("catalog", lake="lake")  # doctest: +SKIP
>>> customers.profiles().to_pandas()  # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from profile_pipelines.reading import Change, Customers, Frame, ProfileView
    from profile_pipelines.reading import open_workspace as open  # noqa: A004

__all__ = ["Change", "Customers", "Frame", "ProfileView", "open"]


def __getattr__(name: str) -> Any:
    """Import what is asked for only then: the command line's help must stay quick."""
    if name not in __all__:
        raise AttributeError(f"module 'profile_pipelines' has no attribute {name!r}")
    from profile_pipelines import reading

    return reading.open_workspace if name == "open" else getattr(reading, name)
