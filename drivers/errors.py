"""The three ways in which hardware disappoints, and their kinds. Whatever a library raises becomes
one of them."""


class DriverError(Exception):
    """One line that says what happened, and where."""


class Unavailable(DriverError):
    """No answer, no line, no connection: try again later."""


class LineDown(Unavailable):
    """There is no line to ask on: says nothing of the devices at its end."""


class GivenUp(Unavailable):
    """The wait for an answer was cut short for something more urgent: says nothing of the device
    either."""


class NotNow(Unavailable):
    """The device answers, but not with what was asked for: it is busy, or something in it has
    failed. Ask later."""


class BadReply(DriverError):
    """An answer that cannot be believed: wrong checksum, unit, function, length or meaning."""


class Spoilt(BadReply):
    """So far. Bytes that follow at once may still be the answer."""


class Misconfigured(DriverError):
    """The device works and says no, or the config cannot be right: stop and tell."""


class Refused(Misconfigured):
    """The device works and says no. `code` is the number that it gives as its reason."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code
