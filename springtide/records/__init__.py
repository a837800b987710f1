"""The words every layer shares: oids, tids, epochs, positions, entries, feed messages.

Pure. Everything here is a value.
"""
