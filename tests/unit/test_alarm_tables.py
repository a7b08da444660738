"""The tables of an alert's states, as a whole."""

from cloud.alerts.alarm import HELD, PROCESS, Status, Trigger


def test_the_table_reaches_every_state_and_leaves_it():
    assert set(PROCESS.values()) == {before for before, _ in PROCESS}
    assert {*PROCESS.values(), *HELD} == set(Status)


def test_nothing_leaves_unacknowledged_but_by_answer_or_return():
    ways = {
        trigger
        for (status, trigger), after in PROCESS.items()
        if status is Status.UNACKNOWLEDGED and after is not status
    }
    assert ways == {Trigger.ANSWER, Trigger.RETURN}


def test_only_an_answer_ends_what_returned_unanswered():
    ways = {
        trigger: after
        for (status, trigger), after in PROCESS.items()
        if status is Status.RETURNED and after is not Status.UNACKNOWLEDGED
    }
    assert ways == {Trigger.ANSWER: Status.NORMAL}
