"""A lake and its ledger copied while runs go on, proved, and put back as the pair that they are."""
