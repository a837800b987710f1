"""The cluster in one thread, from a seed.

The very shells and machines of production run here on a virtual clock, network,
disk and coordinator store. One seed is one run: everything that is random comes
from it, so a failure is repeated by its number.

    python -m springtide.testing.simulator --seeds 100
"""
