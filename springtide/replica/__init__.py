"""What is copied: how a node follows a primary.

``divergence`` finds where two histories part and ``follower`` decides what to do
with each message of a feed; both are pure. ``subscription`` and ``bootstrap``
perform what they decide.
"""
