"""What is committed: the role of the one node that orders transactions."""
