"""Which tid comes next?

Pure. Keeps the half of rule R11 that is about tids: they grow, whatever the clock does. A wall clock
is only ever a hint: it makes tids readable as times.
"""

from __future__ import annotations

from datetime import UTC, datetime

from springtide.records.ids import Tid, number, tid

_MINUTE_UNITS = 2**32


def tid_of(seconds: float) -> Tid:
    """The tid that stands for a time (seconds since 1970, UTC), in ZODB's TimeStamp format.

    The upper half counts minutes since 1900 in a calendar of 31-day months, the
    lower half fractions of a minute in 1/2**32.
    """
    moment = datetime.fromtimestamp(seconds, UTC)
    months = (moment.year - 1900) * 12 + moment.month - 1
    minutes = ((months * 31 + moment.day - 1) * 24 + moment.hour) * 60 + moment.minute
    fraction = int((moment.second + moment.microsecond / 1e6) / 60 * _MINUTE_UNITS)
    return tid(minutes * _MINUTE_UNITS + min(fraction, _MINUTE_UNITS - 1))


def seconds_of(tid: Tid) -> float:
    """The time for which a tid stands, in seconds since 1970; of one that stands for no time, that of its day."""
    minutes, fraction = divmod(number(tid), _MINUTE_UNITS)
    days, minutes = divmod(minutes, 24 * 60)
    months, day = divmod(days, 31)
    year, month = divmod(months, 12)
    first = datetime(min(1900 + year, 9999), month + 1, 1, tzinfo=UTC)
    return first.timestamp() + day * 86400 + minutes * 60 + fraction * 60 / _MINUTE_UNITS


def following(last: Tid, wall_seconds: float) -> Tid:
    """The tid of a transaction committed now: the clock's, or one more than the last."""
    return max(tid_of(wall_seconds), tid(number(last) + 1))
