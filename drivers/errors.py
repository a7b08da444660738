"""The three ways in which hardware disappoints. Whatever a library raises becomes one of them."""


class DriverError(Exception):
    """One line that says what happened, and where."""


class Unavailable(DriverError):
    """No answer, no line, no connection: try again later."""


class BadReply(DriverError):
    """An answer that cannot be believed: wrong checksum, unit, function, length or meaning."""


class Misconfigured(DriverError):
    """The device works and says no, or the config cannot be right: stop and tell."""
