"""The three ways in which hardware disappoints. Whatever a library raises becomes one of them."""


class DriverError(Exception):
    """One line that says what happened, and where."""


class Unavailable(DriverError):
    """No answer, no line, no connection: try again later."""


class LineDown(Unavailable):
    """There is no line to ask on: says nothing of the devices at its end."""


class GivenUp(Unavailable):
    """The wait for an answer was cut short for something more urgent: says nothing of the device
    either."""


class BadReply(DriverError):
    """An answer that cannot be believed: wrong checksum, unit, function, length or meaning."""


class Misconfigured(DriverError):
    """The device works and says no, or the config cannot be right: stop and tell."""
