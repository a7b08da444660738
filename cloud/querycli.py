"""`shuichi query`: stored readings and rollups on a screen or in a file."""

import contextlib
import io
import sys
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, tzinfo
from pathlib import Path
from typing import BinaryIO, Final, TextIO

import click

from cloud import config, show
from cloud.cliparts import config_option, look, moment, progress
from cloud.show import Shown, Sink
from cloud.store import Bucket, Query, Store, stream
from configs import files
from configs.loader import UserError
from configs.numbers import MOST_ROWS, Count
from wire.reading import Quantity

_ROLLUPS: Final = {
    "1m": Bucket.MINUTE,
    "1h": Bucket.HOUR,
    "1d": Bucket.DAY,
    "hydro-day": Bucket.HYDRO_DAY,
}
_BINARY: Final = ("parquet", "png")
_FORMATS: Final = ("table", "csv", "jsonl", "chart", *_BINARY)


class _NothingFound(Exception):
    """Nothing matches, and why."""


@click.command()
@config_option
@click.option("--gateway", help="Only this gateway.")
@click.option("--site", help="Only this site.")
@click.option("--sensor", help="Only this sensor.")
@click.option(
    "--quantity", "--kind", "quantity", type=click.Choice([str(quantity) for quantity in Quantity])
)
@click.option("--since", metavar="WHEN", help="From then on: 90s, 30m, 1h, 2d, or ISO 8601.")
@click.option("--until", metavar="WHEN", help="Up to then, in the same words.")
@click.option(
    "--rollup",
    type=click.Choice(["raw", *_ROLLUPS]),
    default="raw",
    show_default=True,
    help="Readings, or min, mean, max and counts of each minute, hour, day or hydrological day, and"
    " of the longer ones the rain.",
)
@click.option("--limit", type=Count(1, MOST_ROWS), help="The newest so many.  [default: 1000]")
@click.option("--all", "everything", is_flag=True, help="All there are, however many.")
@click.option("--format", "shape", type=click.Choice(_FORMATS), default="table", show_default=True)
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="A file, not the screen."
)
@click.option("--utc", is_flag=True, help="Times in UTC; without it in the local zone.")
def query(
    file: Path,
    gateway: str | None,
    site: str | None,
    sensor: str | None,
    quantity: str | None,
    since: str | None,
    until: str | None,
    rollup: str,
    limit: int | None,
    everything: bool,
    shape: str,
    output: Path | None,
    utc: bool,
) -> None:
    """Print stored readings, the newest up to --limit, in order of time and in SI units.

    With --all the whole range is read piece by piece, and csv, jsonl and parquet are written the
    same way. Exit code 1 if there are none.
    """
    if everything and limit is not None:
        raise UserError("--limit and --all contradict each other: give one of them")
    wanted = Query(
        gateway=gateway,
        site=site,
        sensor=sensor,
        quantity=None if quantity is None else Quantity(quantity),
        since_ms=moment("--since", since),
        until_ms=moment("--until", until),
        limit=None if everything else limit or 1000,
        newest_first=True,
    )
    since_ms, until_ms = wanted.since_ms, wanted.until_ms
    if since_ms is not None and until_ms is not None and since_ms >= until_ms:
        raise UserError(f"--since {since} is not before --until {until}")
    zone = UTC if utc else None
    setup = config.read(file)
    _can_write(shape, output)

    async def put(_: object, store: Store) -> None:
        await _put(store, wanted, _ROLLUPS.get(rollup), shape, output, zone)

    try:
        look(setup, put)
    except _NothingFound as why:
        click.echo(str(why), err=True)
        sys.exit(1)


async def _put(
    store: Store,
    wanted: Query,
    bucket: Bucket | None,
    shape: str,
    output: Path | None,
    zone: tzinfo | None,
) -> None:
    async with contextlib.aclosing(_pages(store, wanted, bucket)) as pages:
        first = await anext(pages, ())
        if not first:
            raise _NothingFound(await _why_nothing(store, wanted, bucket))
        if len(first) == wanted.limit:
            click.echo(f"the newest {wanted.limit}; --limit or --all shows more", err=True)
        seen = wanted.limit is None and sys.stderr.isatty()
        total = await store.count(wanted) if seen and bucket is None else None
        with _opened(shape, output, zone) as sink, progress(seen=seen) as bar:
            task = bar.add_task(shape, total=total)
            _add(sink, first, shape)
            bar.advance(task, len(first))
            async for page in pages:
                _add(sink, page, shape)
                bar.advance(task, len(page))


async def _why_nothing(store: Store, wanted: Query, bucket: Bucket | None) -> str:
    """A name of which the store has nothing at all is most likely a wrong one."""
    for name in ("gateway", "site", "sensor"):
        if value := getattr(wanted, name):
            alone = Query(limit=1, newest_first=True)
            if not await store.read(replace(alone, **{name: value})):
                return f"--{name} {value}: the store has no reading of it"
    if bucket is not None and await store.read(replace(wanted, limit=1)):
        return "no rollups match, though readings do: a running cloud makes each when it is over"
    return "no readings match"


def _add(sink: Sink, page: Sequence[Shown], shape: str) -> None:
    sink.add(page)
    if isinstance(sink, show.Drawn) and len(sink.rows) > show.DRAWN_AT_MOST:
        raise UserError(
            f"more than {show.DRAWN_AT_MOST} rows are too many for a {shape}: "
            "a shorter range, a coarser --rollup, or --format csv"
        )


async def _pages(
    store: Store, wanted: Query, bucket: Bucket | None
) -> AsyncGenerator[Sequence[Shown], None]:
    if bucket is None and wanted.limit is None:
        async for rows in stream.rows(store, wanted):
            yield rows
    elif bucket is None:
        yield (await store.read(wanted))[::-1]
    elif wanted.limit is None:
        async for rollups in stream.rollups(store, wanted, bucket):
            yield rollups
    else:
        yield (await store.rollups(wanted, bucket))[::-1]


def _can_write(shape: str, output: Path | None) -> None:
    """Raise UserError where it is plain beforehand that the format cannot be written."""
    package, extra = {"parquet": ("pyarrow", "parquet"), "png": ("matplotlib", "plots")}.get(
        shape, ("", "")
    )
    if shape in _BINARY:
        try:
            __import__(package)
        except ModuleNotFoundError:
            raise UserError(
                f"--format {shape} needs {package}: pip install 'shuichi[cloud,{extra}]'"
            ) from None
        if output is None and sys.stdout.isatty():
            raise UserError(f"--format {shape} is not for a screen: --output FILE, or a pipe")


@contextlib.contextmanager
def _opened(shape: str, output: Path | None, zone: tzinfo | None) -> Iterator[Sink]:
    """The sink of a format, closed when it went well. A file gets its name then, so that half of
    what was asked for never passes for the whole."""
    if output is None:
        sink = _sink(shape, sys.stdout, sys.stdout.buffer, zone)
        yield sink
        sink.close()
        return
    try:
        with files.replacing(output) as binary:
            out = io.TextIOWrapper(binary, "utf-8", newline="")
            sink = _sink(shape, out, binary, zone)
            yield sink
            sink.close()
            out.flush()
            out.detach()
    except OSError as error:
        raise UserError(f"--output {output}: {error.strerror}") from None


def _sink(shape: str, out: TextIO, binary: BinaryIO, zone: tzinfo | None) -> Sink:
    match shape:
        case "csv":
            return show.Csv(zone, out)
        case "jsonl":
            return show.JsonLines(zone, out)
        case "parquet":
            from cloud.parquet import Parquet

            return Parquet(binary)
        case "png":
            from cloud.plots import png

            return show.Drawn(lambda rows: png(rows, zone, binary))
        case "chart":
            return show.Drawn(lambda rows: show.chart(rows, zone, out))
        case _:
            return show.Drawn(lambda rows: show.table(rows, zone, out))
