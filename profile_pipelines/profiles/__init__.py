"""Merges records into profiles, and explains every value."""
