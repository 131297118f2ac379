"""Journeys: who enters, moves on, and leaves; the outbox sends what they decide."""
