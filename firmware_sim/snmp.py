"""The agent's side of SNMP: a request in, its answer out.

Source: RFC 1157 (SNMPv1), RFC 3416 (SNMPv2c).
"""

from collections.abc import Mapping
from typing import Any, Final, Protocol

from pyasn1.codec.ber import decoder, encoder
from pysnmp.proto import api

from drivers.protocols.snmp import UNREADABLE

Oid = tuple[int, ...]

_NO_SUCH_NAME: Final = 2
_BAD_VALUE: Final = 3
_BAD_VALUES_V2C: Final = (7, 8, 9, 10, 12)
"""Error status of SNMPv2c that is badValue in SNMPv1; those not here are noSuchName (RFC 3584)."""


class Objects(Protocol):
    """What an agent has."""

    def get(self, oid: Oid) -> int | None:
        """The value of an object, None if there is none."""
        ...

    def set(self, values: Mapping[Oid, int]) -> int:
        """Set all, or none and say why: the error status of SNMPv2c."""
        ...


def answer(request: bytes, community: str, objects: Objects) -> bytes | None:
    """The answer to a GET or SET. None, which is silence, for noise and for another community."""
    if (read := _message(request)) is None:
        return None
    module, message = read
    asked = module.apiMessage.get_pdu(message)
    pairs = [(tuple(oid), value) for oid, value in module.apiPDU.get_varbinds(asked)]
    if bytes(module.apiMessage.get_community(message)) != community.encode():
        return None
    reply = module.apiMessage.get_response(message)
    answered = module.apiMessage.get_pdu(reply)
    module.apiPDU.set_varbinds(answered, pairs)
    is_v1 = module is api.v1
    if isinstance(asked, module.GetRequestPDU):
        _read(module, answered, [oid for oid, _ in pairs], objects, is_v1)
    elif isinstance(asked, module.SetRequestPDU):
        if error := objects.set({oid: int(value) for oid, value in pairs}):
            module.apiPDU.set_error_status(answered, _as_v1(error) if is_v1 else error)
            module.apiPDU.set_error_index(answered, 1)
    else:
        return None
    encoded: bytes = encoder.encode(reply)
    return encoded


def _message(request: bytes) -> tuple[Any, Any] | None:
    """The message, and the pysnmp module of its version."""
    for version, module in api.PROTOCOL_MODULES.items():
        try:
            message, _ = decoder.decode(request, asn1Spec=module.Message())
        except UNREADABLE:
            continue
        if int(module.apiMessage.get_version(message)) == version:
            return module, message
    return None


def _read(module: Any, answered: Any, oids: list[Oid], objects: Objects, is_v1: bool) -> None:
    values = [objects.get(oid) for oid in oids]
    if is_v1 and None in values:
        module.apiPDU.set_error_status(answered, _NO_SUCH_NAME)
        module.apiPDU.set_error_index(answered, values.index(None) + 1)
        return
    told = [
        (oid, api.v2c.NoSuchInstance("") if value is None else module.Integer(value))
        for oid, value in zip(oids, values, strict=True)
    ]
    module.apiPDU.set_varbinds(answered, told)


def _as_v1(error: int) -> int:
    return _BAD_VALUE if error in _BAD_VALUES_V2C else _NO_SUCH_NAME
