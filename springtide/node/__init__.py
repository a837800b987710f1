"""One process: the roles put together, and the services that clients, nodes and operators call."""
