import inspect

import pytest

from springtide import errors
from springtide.wire import status


@pytest.mark.parametrize("kind", status.CODES)
def test_an_error_arrives_as_what_it_was(kind):
    back = status.from_wire(status.to_wire(kind("why")))

    assert type(back) is kind
    assert str(back) == "why"


def test_the_address_of_the_primary_arrives():
    back = status.from_wire(status.to_wire(errors.NotPrimary("no", "host:1")))

    assert isinstance(back, errors.NotPrimary) and back.primary == "host:1"


def test_whatever_a_client_should_retry_has_a_code_of_its_own():
    retried = {kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.TryAgain)}

    assert retried - {errors.TryAgain} <= set(status.CODES)
