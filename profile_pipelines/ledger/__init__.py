"""The small transactional database."""

from profile_pipelines.ledger.ledger import Ledger, SyncEntry
from profile_pipelines.ledger.set_asides import WHOLE_SYNC, Excess, SetAside

__all__ = ["WHOLE_SYNC", "Excess", "Ledger", "SetAside", "SyncEntry"]
