"""From what a source delivers to clean records, with quarantine."""

from datetime import timedelta

CLOCKS_DIFFER = timedelta(minutes=5)
"""How far the clocks of two machines may lie apart; a time later than that is in the future."""
