"""What is held about people: shown to them, erased, and kept no longer than it may be."""
