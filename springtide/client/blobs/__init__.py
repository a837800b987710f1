"""Blobs on the client's side: files on this machine, a cache of them with a bound, their way to and from nodes."""
