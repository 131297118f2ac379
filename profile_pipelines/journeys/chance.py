"""Chance that is the same whenever it is asked: shares by a hash of the profile and the place."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt


def share_of(profile_ids: npt.NDArray[np.int64], place: str) -> npt.NDArray[np.float64]:
    """A number in [0, 1) for each profile, independent from place to place (SplitMix64)."""
    seed = int.from_bytes(hashlib.sha256(place.encode()).digest()[:8], "big")
    mixed = profile_ids.astype(np.uint64) ^ np.uint64(seed)
    with np.errstate(over="ignore"):
        mixed += np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)).astype(np.float64) / float(1 << 53)
