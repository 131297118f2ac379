"""Delivers audiences to destinations: who was added, changed and removed since the last time."""
