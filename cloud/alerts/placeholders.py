"""`--value NAME=VALUE`: what placeholders stand for where no rule has found anything."""

from collections.abc import Sequence
from typing import Final

import click

from configs.loader import UserError

values_option: Final = click.option(
    "--value", "values", multiple=True, metavar="NAME=VALUE", help="For a placeholder."
)


def named_values(texts: Sequence[str]) -> dict[str, str]:
    """What `depth_cm=32` and the like say. Raises UserError."""
    values = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UserError(f"--value {text}: is not written as depth_cm=32")
        values[name] = value
    return values
