"""Consent: who may be written to at this moment, what is proof of it, and how it is taken back."""
