"""Records that outlive the process: a directory that the clients of one host share.

Start reading at ``table``, which has the invariant; then ``batch`` (what a process brings), ``keeper`` (when).
"""
