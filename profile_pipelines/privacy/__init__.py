"""Consent: who may be written to at this moment."""
