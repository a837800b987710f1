"""Who leads: the record, the rules by which it changes, and the stores that keep it."""
