"""The two ways in which a store, a database or a channel says no."""


class Unavailable(Exception):
    """It cannot be done now: try again later. Nothing is wrong with what was handed over."""


class Rejected(Exception):
    """It was understood and refused: the same again will be refused again."""
