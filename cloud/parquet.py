"""Readings and rollups as a Parquet file, page by page. Needs pyarrow (the extra `parquet`)."""

from collections.abc import Sequence
from typing import Any, BinaryIO, Final

import pyarrow as pa
from pyarrow import parquet

from cloud.show import Shown
from cloud.store import Row
from wire.reading import UNITS

_WORD: Final = pa.dictionary(pa.int32(), pa.string())
_PLACE: Final[list[tuple[str, Any]]] = [
    ("time", pa.timestamp("ms", tz="UTC")),
    *((name, _WORD) for name in ("gateway", "site", "sensor", "quantity", "unit")),
]
_READING: Final = pa.schema([*_PLACE, ("value", pa.float64()), ("quality", pa.int8())])
_ROLLUP: Final = pa.schema(
    [
        *_PLACE,
        *((name, pa.float64()) for name in ("min", "mean", "max")),
        *((name, pa.int32()) for name in ("count", "bad", "missing")),
        ("worst", pa.int8()),
        ("rain", pa.float64()),
    ]
)


class Parquet:
    """One row group a page; times are UTC, units as in the other formats."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._writer: parquet.ParquetWriter | None = None

    def add(self, page: Sequence[Shown]) -> None:
        if not page:
            return
        schema = _READING if isinstance(page[0], Row) else _ROLLUP
        if self._writer is None:
            self._writer = parquet.ParquetWriter(self._out, schema)
        columns: list[Sequence[Any]] = list(zip(*page, strict=True))
        columns[4] = [str(quantity) for quantity in columns[4]]
        columns.insert(5, [UNITS[row.quantity] for row in page])
        arrays = [
            pa.array(column, type=field.type) for column, field in zip(columns, schema, strict=True)
        ]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=schema))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
