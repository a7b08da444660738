"""What the account says of acks that do not arrive, or are not believed."""

from types import SimpleNamespace
from typing import Any

import pytest

from cloud import problems
from cloud.account import GatewayAccount


def account(pending: int, again: int, **said: Any) -> Any:
    gateway = GatewayAccount("gw", "0", "online", "s", pending, 1, 1, **said)
    stream = SimpleNamespace(gateway="gw", redelivered_batches=again, received_batches=40)
    return SimpleNamespace(gateways=[gateway], streams=[stream])


@pytest.mark.parametrize(
    ("pending", "again", "said", "problem"),
    [
        (0, 0, {}, ""),
        (30, 60, {}, ""),  # an outage
        (0, 5000, {}, ""),  # it is over
        (30, 5000, {}, "gw: 5000 batches came again, and 30 batches wait there"),
        (1, 0, {"acks_unproven": True, "acks_refused": 3}, "gw: believes none of our acks"),
    ],
)
def test_a_gateway_that_our_acks_do_not_reach_is_named(pending, again, said, problem):
    (found,) = [*problems._of_acks(account(pending, again, **said))] or [""]
    assert found.startswith(problem)
    assert bool(found) is bool(problem)


def test_acks_of_somebody_else_are_noted():
    (note,) = problems._foreign_acks(account(0, 0, acks_refused=1, acks_unproven=False))
    assert note.startswith("gw: did not believe 1 ack since it started")
    assert not [*problems._foreign_acks(account(0, 0, acks_refused=0, acks_unproven=False))]
