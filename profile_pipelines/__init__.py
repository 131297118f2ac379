"""Customer profile attributes from your business systems, merged with receipts."""
