"""Gateways that do not believe our acks become a finding, and it ends."""

from cloud.alerts.rule import ServiceFault
from cloud.alerts.rules import service
from cloud.ingest.unbelieved import NAME, PATIENCE_S, Unbelieved
from wire.messages import GatewayState, Status


def status(gateway: str = "gw", *, unproven: bool = True, pending: int = 7) -> Status:
    return Status(
        gateway,
        GatewayState.ONLINE,
        1,
        "s",
        pending=pending,
        acks_unproven=unproven,
        acks_refused=9,
    )


class Hands:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_begins_after_a_while_and_ends_with_a_status() -> None:
    hands = Hands()
    watched = Unbelieved(hands)
    watched.hear([status(), status("other", unproven=False), status("idle", pending=0)])
    assert watched.faults() == []
    hands.now = PATIENCE_S
    assert watched.faults() == []  # it has not said so again
    watched.hear([status(), Status("gw", GatewayState.LOST, 2)])
    assert watched.faults() == [ServiceFault(NAME, True, "gw", detail={"pending": 7})]
    watched.hear([status()])
    assert watched.faults() == []  # once
    watched.hear([Status("gw", GatewayState.LOST, 2)])
    assert watched.faults() == []
    watched.hear([status(unproven=False)])
    assert watched.faults() == [ServiceFault(NAME, False, "gw")]
    assert NAME in service.FAULTS


def test_what_an_earlier_process_reported_ends_too() -> None:
    watched = Unbelieved(Hands())
    watched.inherit([ServiceFault(NAME, True, "gw"), ServiceFault(NAME, True, "gone")])
    watched.hear([status(unproven=False)])
    assert watched.faults() == [ServiceFault(NAME, False, "gw")]


def test_a_change_of_keys_is_no_fault() -> None:
    hands = Hands()
    watched = Unbelieved(hands)
    watched.hear([status()])
    hands.now = PATIENCE_S - 1
    watched.hear([status(unproven=False)])
    assert watched.faults() == []
    watched.hear([status()])
    hands.now = PATIENCE_S + 1
    watched.hear([status()])
    assert watched.faults() == []
