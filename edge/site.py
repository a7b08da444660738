"""One site's interlock at work: readings and orders in, aspect to the signal, events out."""

from collections.abc import Callable
from typing import Final

from edge import clock, interlock
from edge.interlock import Found, Order, Rule, State, Tick
from edge.memory import Raised
from edge.rulers import Notice, Sample
from edge.signal import SignalKeeper, Tell
from wire.aspect import Aspect
from wire.messages import InterlockState
from wire.reading import Quality, Quantity, Reading
from wire.seldom import Seldom

INFINITY: Final = float("inf")

CROSSINGS: Final = 5
"""Events a minute that say that a ruler is at or over a threshold."""

BELIEVABLE: Final = frozenset({Quality.GOOD, Quality.SUSPECT})


class SiteInterlock:
    """Holds the state of `edge.interlock` and carries out what it says."""

    def __init__(
        self,
        site: str,
        rule: Rule,
        rulers: tuple[str, ...],
        keeper: SignalKeeper,
        tell: Tell,
        publish: Callable[[InterlockState], None],
        *,
        latched: bool = False,
        switched: bool = False,
        raised: Raised | None = None,
    ) -> None:
        self.site = site
        self.rule = rule
        self.rulers = frozenset(rulers)
        order = interlock.NO_ORDER
        if raised is not None:
            until = clock.monotonic() + (INFINITY if raised.lasts_s is None else raised.lasts_s)
            order = Order(raised.floor, None, until, raised.by)
        self.state: State = interlock.begin(
            rule, rulers, latched=latched, switched=switched, order=order
        )
        self._order = order
        self._raised = raised
        self.keeper = keeper
        self._tell = tell
        self._publish = publish
        self._cause = "start"
        self._crossings = Seldom(burst=CROSSINGS, now=clock.monotonic)
        self._over_since: dict[str, float] = {}
        self._left = False

    def start(self) -> None:
        """Show the safe aspect until the water is known; of a signal that cannot be read, nothing
        less restrictive than what it may show."""
        self.keeper.may_lower = self._is_known
        self.keeper.want(self.state.wanted, clock.monotonic(), self._cause)
        self.announce()

    def change(self, rule: Rule, rulers: tuple[str, ...], keeper: SignalKeeper) -> None:
        """A new config: go on from how things stand, so that the lamp does not move for it. A ruler
        that is new must first be heard."""
        if (rule, frozenset(rulers), keeper) == (self.rule, self.rulers, self.keeper):
            return
        self.rule, self.rulers = rule, frozenset(rulers)
        self.state = interlock.changed(self.state, rulers)
        if keeper is not self.keeper:
            self.keeper = keeper
            keeper.may_lower = self._is_known
            keeper.want(self.state.wanted, clock.monotonic(), "new config")
        self.announce()

    def leave(self) -> None:
        """The agent stops: show the safe aspect unless a more restrictive one is wanted."""
        self._left = True
        aspect = interlock.most(self.state.wanted, self.rule.safe)
        if self.keeper.is_looking and not self._is_known:
            aspect = Aspect.RED  # nobody knows what it shows
        self.keeper.want(aspect, clock.monotonic(), "the agent stops")

    def hear(self, reading: Reading, at: float) -> None:
        """A reading of one of our rulers; `at` is its monotonic time."""
        if reading.sensor in self.rulers and reading.quantity is Quantity.DEPTH:
            believable = reading.quality in BELIEVABLE
            depth = reading.value if believable else None
            self.take(Sample(reading.sensor, depth, reading.reason), at)

    def find(self, aspect: Aspect) -> None:
        """The signal showed this when we came."""
        self.take(Found(aspect), clock.monotonic())

    def tick(self) -> None:
        """Time has passed without a reading."""
        self.take(Tick(), clock.monotonic())

    def take(self, event: interlock.Event, now: float) -> None:
        """Whatever happens to the interlock happens here; `now` is monotonic, s."""
        if self._left:
            return
        before = self.state.wanted
        self.state, wanted, notices = interlock.step(self.rule, self.state, event, now)
        notice: Notice | None
        for notice in notices:
            if notice.kind == "over_threshold":
                # The first ruler over a threshold starts the stopwatch of the lamp.
                self._over_since.setdefault(str(notice.detail["threshold"]), now)
                notice = self._seldom_said(notice)
            elif notice.kind == "aspect_wanted":
                self._cause = str(notice.detail["cause"])
            if notice is not None:
                self._tell(notice.kind, notice.text, notice.detail)
        if wanted is not before:
            rises = wanted.severity > before.severity
            since = self._over_since.get(wanted.value, now) if rises else now
            self.keeper.want(wanted, since, self._cause)
            self.announce()
        if self._is_known:
            self.keeper.allow_lower()
        self._forget_crossings()

    def _seldom_said(self, notice: Notice) -> Notice | None:
        """Waves cross a threshold at every other reading, and each event is written to the card."""
        crossed = notice.detail["ruler"], notice.detail["threshold"]
        if (more := self._crossings.says(crossed)) is None:
            return None
        return notice._replace(text=f"{notice.text} ({more} more before)") if more else notice

    @property
    def _is_known(self) -> bool:
        """Whether the water itself says what may be shown."""
        return self.state.band is not None and not self.state.pending

    def announce(self) -> None:
        """Publish what is wanted and what is confirmed."""
        self._publish(
            InterlockState(
                site=self.site,
                wanted=self.state.wanted,
                confirmed=self.keeper.confirmed,
                depth=self.state.depth,
                cause=self._cause,
                at_ms=clock.utc_ms(),
            )
        )

    @property
    def latched(self) -> bool:
        """Whether red waits for a person."""
        return self.rule.latch_red and self.state.band == interlock.RED

    @property
    def raised(self) -> Raised | None:
        """What a person has raised it to, and for how long from the beginning."""
        if (order := self.state.order) is not self._order:
            lasts_s = order.until - clock.monotonic()
            self._order, self._raised = order, None
            if order.floor is not None:
                lasts = None if lasts_s == INFINITY else max(0.0, lasts_s)
                self._raised = Raised(order.floor, lasts, order.by)
        return self._raised

    @property
    def shows(self) -> Aspect | None:
        """What the signal was last seen to show."""
        return self.keeper.confirmed

    def _forget_crossings(self) -> None:
        for i, threshold in enumerate(("amber", "red")):
            if all(ruler.over[i] == 0 for ruler in self.state.rulers.values()):
                self._over_since.pop(threshold, None)
