"""What Dagster loads: the catalogue that the environment names, or the demo's."""

from profile_pipelines.orchestration.build import definitions_at
from profile_pipelines.workspace import Places

defs = definitions_at(Places.from_environment())
