"""From what a source delivers to clean records, with quarantine."""
