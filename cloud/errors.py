"""The two ways in which a store, a database or a channel says no."""


class Unavailable(Exception):
    """It cannot be done now: try again later, not before `retry_after_s` where the other side has
    said so. Nothing is wrong with what was handed over. `unsure`: it may have been done, for the
    other side did not say. `of_the_request`: only a person can mend it (rights, limits, schema,
    configuration), and no single thing that was handed over is to blame."""

    def __init__(
        self, words: str = "", retry_after_s: float | None = None, *, unsure: bool = False
    ) -> None:
        super().__init__(words)
        self.retry_after_s = retry_after_s
        self.unsure = unsure
        self.of_the_request = False


class Rejected(Exception):
    """It was understood and refused: the same again will be refused again. `dropped` of the points
    at least were refused, all others may have been taken; None where nobody has said so."""

    def __init__(self, words: str, dropped: int | None = None) -> None:
        super().__init__(words)
        self.dropped = dropped
