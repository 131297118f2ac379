"""The small transactional database."""

from profile_pipelines.ledger.ledger import Ledger, SyncEntry

__all__ = ["Ledger", "SyncEntry"]
