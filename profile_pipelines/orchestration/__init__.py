"""Dagster: the pipeline as assets, checks, schedules and sensors. Nothing else imports it."""
