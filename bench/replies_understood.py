"""How many replies to calls are understood, of a set that the reader was not written against.

Counted are the replies that say something: what they say, which call, and how many people must all
be right. A reply that is taken for a yes and is none is worse than any number of those that are not
understood: one of them, in any set, and the figure is 0. See `bench._replies` for how the sets were
made.
"""

from bench import _replies
from bench.figure import Detail, Figure, Goal, Progress, Result

FIGURE = Figure(
    "replies by SMS understood, of a held-out set; 0 if one is taken for a yes and is none",
    "ratio",
    Goal(">=", 0.95),
)


def measure(progress: Progress) -> Result:
    """A second."""
    false_yes: list[str] = []
    details: dict[str, Detail] = {}
    share = 0.0
    names = _replies.sets()
    for number, name in enumerate(names):
        progress(number / len(names), name)
        some = [(one, one.read()) for one in _replies.labelled(name)]
        false_yes += [one.text for one, reply in some if reply.accepts and not one.is_yes]
        clear = [one.is_understood(reply) for one, reply in some if not one.is_unclear]
        share = sum(clear) / len(clear)
        details[name] = f"{sum(clear)} of {len(clear)} understood, {len(some)} in all"
    details["false yes"] = ", ".join(map(repr, false_yes)) or 0
    details["judged by"] = names[-1]
    return Result(0.0 if false_yes else share, details)
