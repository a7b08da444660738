"""The files with secrets that a config names, and which of them others may read."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cloud.channels import SECRETS
from cloud.config import Setup
from cloud.http import ENVIRONMENT
from cloud.web.settings import Web
from configs import files

log: Final = logging.getLogger("shuichi.cloud")


def named(setup: Setup) -> Iterator[tuple[str, Path]]:
    """Each file with its key in the config."""
    config = setup.config
    tables: dict[str, object] = {
        "broker": config.broker,
        "state": config.state,
        "store": config.store,
        "alerts": config.alerts,
        "web": config.web,
        **{f"channel.{name}": one for name, one in config.channel.items()},
        **{f"web.token.{name}": one for name, one in (config.web or Web()).token.items()},
        **{f"hook.{name}": one for name, one in config.hook.items()},
    }
    for table, model in tables.items():
        for key in (*SECRETS, "key_file", "calendar_token_file"):
            place = getattr(model, key, None)
            if isinstance(place, str) and not place.startswith(ENVIRONMENT):
                yield f"{table}.{key}", setup.folder / place


def doubts(setup: Setup) -> Iterator[tuple[str, str]]:
    """Those whose rights are too wide, each with its key."""
    for key, file in named(setup):
        if said := files.doubt(file):
            yield key, said


def tell(setup: Setup) -> None:
    """The same in the log: the service runs all the same."""
    for key, said in doubts(setup):
        log.warning("%s: %s", key, said)
