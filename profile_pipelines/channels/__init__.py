"""Sends what the outbox holds, over the catalogue's channels."""
