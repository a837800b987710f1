"""The drop-in ZODB storage: what an application links with.

Plain threads and synchronous gRPC, because ZODB is synchronous. Start reading at
``storage`` (what ZODB calls), then ``view`` (what this process has seen of the
database, and the one lock), then ``commits``.
"""
