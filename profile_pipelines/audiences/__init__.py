"""Audiences: conditions over profiles, and who they hold for."""
