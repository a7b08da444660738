"""From depth to aspect: the rule that a signal above an underpass obeys. Pure.

    state, wanted, notices = step(rule, state, event, now)

`now` is monotonic time in s; no clock, no I/O, no configuration file in here.

The rule, as a traffic engineer would say it:

- Up: `rise_samples` readings in a row at or over a threshold raise the aspect at once. The highest
  healthy ruler decides.
- Down: all healthy rulers must stay under the clear threshold for `hold_s`; red falls to amber
  before amber falls to green, each after a hold of its own. A latched red also waits for a person.
- A ruler that has not been heard yet is unknown, not absent: until it is heard, or has been waited
  for as long as for one that is lost, the aspect may rise and not fall. So is a local switch that
  has not been read yet.
- No healthy ruler: the safe aspect, or the one shown before if that is more restrictive. So it is
  at the start, until `rise_samples` healthy readings have come: a gateway that is started above
  water leaves a red lamp red.
- A person may raise the aspect at any time, and lower it for a time: but never to green while a
  healthy ruler is over red, and never under the safe aspect while no ruler is healthy.

The thresholds themselves count as over: rulers read whole centimetres, and in doubt the lamp shows
the more restrictive aspect.

`band` and `aspect` are the whole of the decision and have finitely many cases: the model in
`tests/model/interlock.pml` states the same tables, and a test keeps them equal.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import msgspec

from edge import rulers
from edge.rulers import Notice, Ruler, RulerRule, Sample
from wire.aspect import Aspect

GREEN: Final = 0
AMBER: Final = 1
RED: Final = 2
"""The bands: what the water demands."""

ASPECTS: Final = (Aspect.GREEN, Aspect.AMBER, Aspect.RED)


class Rule(NamedTuple):
    """Times in s. `latch_red`: a person must agree before red may fall."""

    rulers: RulerRule
    hold_s: float
    safe: Aspect
    latch_red: bool = False
    disagree_m: float | None = None
    disagree_after_s: float = 60.0


class Tick(NamedTuple):
    """Time has passed: look for rulers gone stale, and for a hold that has been served."""


class Order(NamedTuple):
    """A person asks for at least (`floor`) or at most (`ceiling`) an aspect, until monotonic
    `until`; both None ends what was asked before. `by` says who, for the log."""

    floor: Aspect | None
    ceiling: Aspect | None
    until: float
    by: str


class Local(NamedTuple):
    """The switch beside the road asks for at least this aspect, or for nothing."""

    floor: Aspect | None


class Found(NamedTuple):
    """What the signal showed when we came: until the water is known, nothing less restrictive."""

    aspect: Aspect


class Agree(NamedTuple):
    """A person agrees that a latched red may fall, once the water allows it."""

    by: str


Event = Sample | Tick | Order | Local | Found | Agree

_ROUNDING_S: Final = 1e-6
"""Times are added up."""

NO_ORDER: Final = Order(None, None, float("-inf"), "")


class State(msgspec.Struct, frozen=True):
    """`band` is what the water demands, None until it is known; `lower_since` is since when the
    water would allow the next lower band, and `lower_s` for how much of that time something was
    heard; `began_at` is the time of the first event, `stepped_at` of the last; `pending` whether a
    ruler is still waited for that was never heard, or a local switch (`unread`); `raised_at` when
    the aspect last rose; `agreed` whether a person has let a latched red go; `found` what the
    signal showed when we came; `apart_since` since when rulers disagree."""

    rulers: dict[str, Ruler]
    wanted: Aspect
    band: int | None = None
    lower_since: float | None = None
    raised_at: float = float("-inf")
    agreed: bool = False
    order: Order = NO_ORDER
    local: Aspect | None = None
    found: Aspect | None = None
    apart_since: float | None = None
    apart_told: bool = False
    lower_s: float = 0.0
    began_at: float | None = None
    stepped_at: float | None = None
    pending: bool = False
    unread: bool = False

    @property
    def depth(self) -> float | None:
        """Highest depth of a healthy ruler, m."""
        return max((r.depth for r in _healthy(self.rulers)), default=None)


class View(NamedTuple):
    """Everything that the decision about the water looks at.

    `fresh`: the first healthy view after none. `confirmed`: the band that enough readings in a
    row demand; `reached`: that of the latest depth; `settled`: the one that the depth still holds,
    with the margin that a fall must clear. `served`: the hold is over. `free`: red may fall.
    """

    healthy: bool
    fresh: bool
    confirmed: int
    reached: int
    settled: int
    served: bool
    free: bool


def next_band(band: int | None, view: View) -> int | None:
    """The band after `view`."""
    if not view.healthy:
        return band
    # What follows the safe aspect must fit the water as it stands, confirmed or not.
    fresh = view.fresh or band is None
    demanded = max(view.confirmed, view.reached) if fresh else view.confirmed
    if band is None or demanded > band:
        return demanded
    if view.settled < band and view.served and (band < RED or view.free):
        return band - 1
    return band


def aspect(
    band: int | None,
    healthy: bool,
    over_red: bool,
    safe: Aspect,
    floor: Aspect | None,
    ceiling: Aspect | None,
) -> Aspect:
    """What the signal should show. `over_red`: a healthy ruler is confirmed over red."""
    shown = safe if band is None else ASPECTS[band]
    if not healthy:
        shown = most(shown, safe)
    if ceiling is not None:
        lowest = Aspect.AMBER if over_red else Aspect.GREEN
        if not healthy:
            lowest = most(lowest, safe)
        shown = least(shown, most(ceiling, lowest))
    return shown if floor is None else most(shown, floor)


def begin(
    rule: Rule,
    names: tuple[str, ...],
    *,
    latched: bool = False,
    switched: bool = False,
    order: Order = NO_ORDER,
) -> State:
    """The state before the first reading: the safe aspect; or the red that still waits for a
    person if it was `latched` when we were last here, or what the `order` of that time demands.
    `switched`: there is a local switch."""
    heard = {name: Ruler() for name in names}
    wanted = most(rule.safe, order.floor or Aspect.GREEN)
    if latched and rule.latch_red:
        wanted = most(wanted, Aspect.RED)
        return State(heard, wanted=wanted, band=RED, unread=switched, order=order)
    return State(heard, wanted=wanted, unread=switched, order=order)


def step(
    rule: Rule, state: State, event: Event, now: float
) -> tuple[State, Aspect, tuple[Notice, ...]]:
    """The next state, the aspect that the signal should show, and what there is to tell."""
    notices: list[Notice] = []
    known_before = bool(_healthy(state.rulers))
    state = _time_heard(rule, state, now)
    state = _taken(rule, state, event, now, notices)
    healthy = _healthy(state.rulers)
    view = _view(rule, state, healthy, known_before, now)
    band = next_band(state.band, view)
    lower_since = _lower_since(state, view, band, now)
    pending = _pending(rule, state, now)
    if state.pending and not pending:
        notices += _never_heard(rule, state)
    state = msgspec.structs.replace(
        state,
        band=band,
        lower_since=lower_since,
        lower_s=state.lower_s if lower_since == state.lower_since else 0.0,
        pending=pending,
        # An agreement is spent once red is gone, and void once the water is back.
        agreed=state.agreed and band == RED and view.settled < RED,
    )
    over_red = any(rulers.confirmed(rule.rulers, r) == RED for r in healthy)
    floor = most_of(state.order.floor, state.local)
    safe = rule.safe if band is not None or state.found is None else most(rule.safe, state.found)
    wanted = aspect(band, view.healthy, over_red, safe, floor, state.order.ceiling)
    wanted = _not_too_soon(rule, state, wanted, known_before, now)
    if state.pending:
        wanted = most(wanted, most(state.wanted, state.found or Aspect.GREEN))
    state = _disagreement(rule, state, healthy, now, notices)
    before = state.wanted
    if wanted is not before:
        # What was found so has not risen now: it may end as soon as the water is known.
        rises = wanted.severity > before.severity and not isinstance(event, Found)
        notices.append(_turned(before, wanted, state, view))
        state = msgspec.structs.replace(
            state, wanted=wanted, raised_at=now if rises else state.raised_at
        )
    return state, wanted, tuple(notices)


def _time_heard(rule: Rule, state: State, now: float) -> State:
    """Add to the hold what has passed since the last event, as far as something was heard in it: a
    reading speaks for the water until the next one is due."""
    gained_s = 0.0
    if state.stepped_at is not None:
        until = max((rulers.heard_until(rule.rulers, r) for r in _healthy(state.rulers)), default=0)
        gained_s = max(0.0, min(now, until) - state.stepped_at)
    return msgspec.structs.replace(
        state,
        lower_s=state.lower_s + gained_s,
        began_at=now if state.began_at is None else state.began_at,
        stepped_at=now,
    )


def _pending(rule: Rule, state: State, now: float) -> bool:
    waited_s = now - (now if state.began_at is None else state.began_at)
    unmet = state.unread or not all(ruler.met for ruler in state.rulers.values())
    return unmet and waited_s <= rule.rulers.stale_after_s


def _never_heard(rule: Rule, state: State) -> Iterator[Notice]:
    for name in (name for name, ruler in state.rulers.items() if not ruler.met):
        waited_s = rule.rulers.stale_after_s
        text = f"{name} has given no believable reading for {waited_s:.1f} s, since the start"
        yield Notice("ruler_lost", text, {"ruler": name, "silent_s": waited_s})
    if state.unread:
        yield Notice("switch_unread", "the local switch was not read since the start", {})


def _taken(rule: Rule, state: State, event: Event, now: float, out: list[Notice]) -> State:
    """The state with what the event itself says."""
    heard = dict(state.rulers)
    for name, ruler in heard.items():  # also what comes after a silence too long
        heard[name] = rulers.aged(rule.rulers, name, ruler, now, out)
    order, local, agreed, found = state.order, state.local, state.agreed, state.found
    unread = state.unread and not isinstance(event, Local)
    match event:
        case Sample():
            heard[event.ruler] = rulers.heard(rule.rulers, heard[event.ruler], event, now, out)
        case Order():
            order = NO_ORDER if event.floor is event.ceiling is None else event
        case Local():
            local = event.floor
        case Found():
            found = event.aspect
        case Agree():
            agreed = True
        case Tick():
            pass
    if order is not NO_ORDER and order.until <= now:
        out.append(Notice("order_ended", f"the order of {order.by} has ended", {"by": order.by}))
        order = NO_ORDER
    return msgspec.structs.replace(
        state, rulers=heard, order=order, local=local, found=found, agreed=agreed, unread=unread
    )


def _view(rule: Rule, state: State, healthy: list[Ruler], known_before: bool, now: float) -> View:
    band = state.band
    settled = max((rulers.settled(rule.rulers, r) for r in healthy), default=GREEN)
    since = state.lower_since
    return View(
        healthy=bool(healthy),
        fresh=not known_before,
        confirmed=max((rulers.confirmed(rule.rulers, r) for r in healthy), default=GREEN),
        reached=max((rulers.reached(rule.rulers, r) for r in healthy), default=GREEN),
        settled=settled,
        served=band is not None
        and settled < band
        and since is not None
        and state.lower_s >= rule.hold_s - _ROUNDING_S,
        free=not rule.latch_red or state.agreed,
    )


def _lower_since(state: State, view: View, band: int | None, now: float) -> float | None:
    """Each band has a hold of its own, and time without a healthy ruler counts for nothing."""
    if band is None or not view.healthy or view.settled >= band:
        return None
    if state.band != band or state.lower_since is None:
        return now
    return state.lower_since


def _not_too_soon(
    rule: Rule, state: State, wanted: Aspect, known_before: bool, now: float
) -> Aspect:
    """What has risen stays for `hold_s`, so that a ruler that comes and goes does not make the
    lamp flap. A person's order is not held up, nor is the end of the start-up."""
    lowers = wanted.severity < state.wanted.severity
    asked = state.order is not NO_ORDER
    if lowers and not asked and now - state.raised_at < rule.hold_s:
        return state.wanted
    return wanted


def _disagreement(
    rule: Rule, state: State, healthy: list[Ruler], now: float, out: list[Notice]
) -> State:
    depths = [r.depth for r in healthy]
    apart = max(depths) - min(depths) if rule.disagree_m is not None and depths else 0.0
    if rule.disagree_m is None or apart <= rule.disagree_m:
        if state.apart_told:
            out.append(Notice("rulers_agree", "the rulers agree again", {}))
        return msgspec.structs.replace(state, apart_since=None, apart_told=False)
    since = now if state.apart_since is None else state.apart_since
    told = state.apart_told
    if not told and now - since >= rule.disagree_after_s:
        text = f"the rulers are {apart:.2f} m apart"
        out.append(Notice("rulers_disagree", text, {"apart_m": round(apart, 4)}))
        told = True
    return msgspec.structs.replace(state, apart_since=since, apart_told=told)


def _turned(before: Aspect, wanted: Aspect, state: State, view: View) -> Notice:
    depth = state.depth
    cause = _cause(before, wanted, state, view)
    shown = "" if depth is None else f", {depth:.2f} m"
    return Notice(
        "aspect_wanted",
        f"{before.value} to {wanted.value}: {cause}{shown}",
        {"from": before.value, "to": wanted.value, "cause": cause, "depth_m": depth},
    )


def _cause(before: Aspect, wanted: Aspect, state: State, view: View) -> str:
    rises = wanted.severity > before.severity
    if state.local is wanted and rises:
        return "local switch"
    if state.band is None and rises:
        return "as it was found"
    if wanted in (state.order.floor, state.order.ceiling):
        return f"order of {state.order.by}"
    if not view.healthy:
        return "no ruler answers"
    if view.fresh and not rises:
        return "rulers answer"
    return "water rises" if rises else "water falls"


def _healthy(heard: dict[str, Ruler]) -> list[Ruler]:
    return [ruler for ruler in heard.values() if not ruler.lost]


def changed(state: State, names: Iterable[str]) -> State:
    """The state under a new config: a ruler that is new must first be heard."""
    standing = {name: state.rulers.get(name, Ruler()) for name in names}
    return msgspec.structs.replace(state, rulers=standing, found=None, began_at=None)


def most(a: Aspect, b: Aspect) -> Aspect:
    """The more restrictive of two."""
    return max(a, b, key=lambda one: one.severity)


def least(a: Aspect, b: Aspect) -> Aspect:
    """The less restrictive of two."""
    return min(a, b, key=lambda one: one.severity)


def most_of(*given: Aspect | None) -> Aspect | None:
    """The most restrictive of those that are given."""
    return max((a for a in given if a is not None), key=lambda one: one.severity, default=None)
