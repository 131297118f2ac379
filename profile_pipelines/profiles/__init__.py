"""Merges records into profiles, and explains every value."""

from profile_pipelines.profiles.merge import ProfilesResult, merge

__all__ = ["ProfilesResult", "merge"]
