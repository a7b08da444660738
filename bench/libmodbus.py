"""libmodbus, the reference to measure against: as much of its C interface as that takes."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from configs.loader import UserError

_LIBRARY: Final = "libmodbus.so.5"


class ModbusError(Exception):
    """What libmodbus says went wrong."""


class Context:
    """A connected modbus_t. Its calls block; ctypes lets other threads run meanwhile."""

    def __init__(self, library: ctypes.CDLL, handle: ctypes.c_void_p) -> None:
        self._library = library
        self._handle = handle

    def read_registers(self, unit: int, address: int, count: int) -> list[int]:
        """Holding registers. Raises ModbusError."""
        words = (ctypes.c_uint16 * count)()
        self._library.modbus_set_slave(self._handle, unit)
        read = self._library.modbus_read_registers(self._handle, address, count, words)
        if read != count:
            raise ModbusError(self._library.modbus_strerror(ctypes.get_errno()).decode())
        return list(words)


@contextmanager
def rtu(
    device: str, baud: int, within_s: float, *, parity: str = "N", stop_bits: int = 1
) -> Iterator[Context]:
    """A serial line. `within_s` is how long it waits for the first byte of an answer.

    Raises UserError if the library is not installed, ModbusError if the line cannot be opened.
    """
    library = _load()
    handle = library.modbus_new_rtu(device.encode(), baud, parity.encode(), 8, stop_bits)
    with _connected(library, handle, within_s) as context:
        yield context


@contextmanager
def tcp(host: str, port: int, within_s: float) -> Iterator[Context]:
    """Modbus TCP. Raises as `rtu` does."""
    library = _load()
    with _connected(library, library.modbus_new_tcp(host.encode(), port), within_s) as context:
        yield context


@contextmanager
def _connected(library: ctypes.CDLL, handle: ctypes.c_void_p, within_s: float) -> Iterator[Context]:
    seconds, rest = divmod(within_s, 1)
    library.modbus_set_response_timeout(handle, int(seconds), int(rest * 1e6))
    try:
        if library.modbus_connect(handle) != 0:
            raise ModbusError(library.modbus_strerror(ctypes.get_errno()).decode())
        try:
            yield Context(library, handle)
        finally:
            library.modbus_close(handle)
    finally:
        library.modbus_free(handle)


def _load() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(_LIBRARY, use_errno=True)
    except OSError:
        raise UserError(
            f"{_LIBRARY} is not there: apt-get install libmodbus5 (mbpoll brings it along)"
        ) from None
    library.modbus_new_rtu.restype = library.modbus_new_tcp.restype = ctypes.c_void_p
    library.modbus_strerror.restype = ctypes.c_char_p
    library.modbus_new_rtu.argtypes = (
        *(ctypes.c_char_p, ctypes.c_int, ctypes.c_char, ctypes.c_int, ctypes.c_int),
    )
    library.modbus_new_tcp.argtypes = (ctypes.c_char_p, ctypes.c_int)
    library.modbus_set_response_timeout.argtypes = (
        *(ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32),
    )
    library.modbus_set_slave.argtypes = (ctypes.c_void_p, ctypes.c_int)
    library.modbus_read_registers.argtypes = (
        *(ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.c_uint16)),
    )
    for function in (library.modbus_connect, library.modbus_close, library.modbus_free):
        function.argtypes = (ctypes.c_void_p,)
    return library
