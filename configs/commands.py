"""All commands under one, which loads a group of them only when somebody asks for it."""

import errno
import importlib
import io
import os
import select
import sys
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

import click

from configs.loader import UserError

_ROOMS: Final = {
    "demo": ("firmware_sim.demo.cli:demo", "A storm from ruler to lamp to person, in two minutes."),
    "gateway": ("edge.provision:gateway", "Set up a gateway."),
    "port": ("edge.provision:port", "Name the lines of a gateway."),
    "sensor": ("edge.provision:sensor", "Find, add, list, read and remove sensors."),
    "edge": ("edge.cli:edge", "Check and run a gateway."),
    "cloud": ("cloud.cli:cloud", "Check and run the aggregator."),
    "query": ("cloud.querycli:query", "Print stored readings: table, file, chart or picture."),
    "store": ("cloud.storecli:group", "Copy a store into another."),
    "account": ("cloud.accountcli:account", "Tell what was sealed, stored, put aside and missing."),
    "quarantine": (
        "cloud.ledgercli:quarantine_group",
        "What could not be stored: list, retry, drop.",
    ),
    "alert": ("cloud.alertcli:alert", "What is open; answer it, or hold it back."),
    "command": ("cloud.orders:command", "Give signed orders to an interlock."),
    "duty": ("cloud.dutycli:group", "Who is absent, who covers whom: at once."),
    "plan": ("cloud.plancli:group", "Check a response plan, rehearse it, bring people into it."),
    "sim": ("firmware_sim.cli:sim", "Run simulated devices on real lines."),
}


_EXTRAS: Final = {"demo": "demo", "sim": "sim"}
"""The extra of pyproject.toml that a command needs, where it is not `cloud`."""

_OF_A_PATH: Final = frozenset(
    {
        *(errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST),
        *(errno.ENAMETOOLONG, errno.ELOOP, errno.EROFS),
    }
)
"""Errors by which a path is at fault that somebody named."""


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_ROOMS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _ROOMS:
            return None
        module, _, attribute = _ROOMS[name][0].partition(":")
        try:
            found: click.Command = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.split(".")[0] in ("edge", "cloud", "firmware_sim"):
                raise
            extra = _EXTRAS.get(name, "cloud")
            raise click.ClickException(
                f"`shuichi {name}` needs the package {error.name!r}: "
                f"install shuichi with its extra, pip install 'shuichi[{extra}]'"
            ) from None
        if ctx.obj is not None:
            ctx.obj()
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table, so that `--help` loads no room."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help) for name, (_, help) in _ROOMS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="shuichi")
def cli() -> None:
    """Shuichi: from the ruler in the water to the lamp above it and the person who must act."""


def main(loaded: Callable[[], None]) -> None:
    """Run the command; a user's mistake is one line a fault on stderr, and exit code 2. `loaded` is
    called once its modules are there, before it runs."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a screen that knows no Chinese shows what it can
            stream.reconfigure(errors="replace")
    try:
        sys.exit(cli.main(standalone_mode=False, obj=loaded))
    except UserError as error:
        lines, code = str(error).splitlines(), 2
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        lines, code = [], error.exit_code
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "shuichi"
        message = " ".join(error.format_message().split())  # click lists choices on lines
        lines, code = [f"{message} (see `{where} --help`)"], error.exit_code
    except click.ClickException as error:
        lines, code = [error.format_message()], error.exit_code
    except (click.Abort, KeyboardInterrupt):
        lines, code = [], 130
    except UnicodeEncodeError:
        if not (wrong := [word for word in sys.argv[1:] if _is_bytes(word)]):
            raise
        lines, code = [f"{wrong[0]!a} is not text in UTF-8"], 2
    except OSError as error:
        if isinstance(error.filename, str) and error.errno in _OF_A_PATH:
            _end([f"{error.filename[:200]}: {error.strerror}"], 2)
        if error.errno == errno.ENOSPC:
            lines, code = [f"the output cannot be written: {error.strerror}"], 2
        elif isinstance(error, BrokenPipeError) and _is_left(sys.stdout.fileno()):
            lines, code = [], 1  # `| head` has seen enough
        else:
            raise
        # What is still in the buffer must not be tried again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    _end(lines, code)


def _end(lines: Sequence[str], code: int) -> NoReturn:
    for line in lines:
        click.echo(f"shuichi: {line}", err=True)
    sys.exit(code)


def _is_bytes(word: str) -> bool:
    """Whether a word of the command line was no text: Python keeps its bytes as surrogates."""
    return any("\udc80" <= character <= "\udcff" for character in word)


def _is_left(pipe: int) -> bool:
    """Whether nobody reads the pipe any more."""
    poll = select.poll()
    poll.register(pipe, 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))
