"""One process: its configuration, its roles, its services."""
