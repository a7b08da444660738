"""SNMP manager: sets and gets integers of one agent, one request and one believed answer each.

pysnmp builds and reads the messages; its engine and its transport are left out (decision record
0008). An answer counts only if version, community and request id are those of the request, and if
it names the same objects in the same order. An answer to an earlier request is passed over.

Source: RFC 1157 (SNMPv1), RFC 1901, RFC 3416 (SNMPv2c).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

from pyasn1.codec.ber import decoder, encoder
from pyasn1.error import PyAsn1Error
from pyasn1.type.univ import Integer
from pysnmp.proto import api, rfc1905

from drivers.errors import BadReply, DriverError, Misconfigured, Unavailable
from drivers.ports import Port, Scan, remark

Version = Literal["1", "2c"]
Oid = tuple[int, ...]

_NUMBER: Final = {"1": api.SNMP_VERSION_1, "2c": api.SNMP_VERSION_2C}
"""The version as it stands in a message."""

UNREADABLE: Final = (PyAsn1Error, IndexError, TypeError, ValueError)
"""What pyasn1 raises for bytes that are no message: its own error, and slips that it makes."""

_ABSENT: Final = (rfc1905.NoSuchObject, rfc1905.NoSuchInstance, rfc1905.EndOfMibView)

_MAY_PASS: Final = {5: "general error", 13: "no resources", 14: "commit failed", 15: "undo failed"}
"""Errors after which it is worth to ask again (RFC 3416, 4.2.5); all others come again."""

_WILL_NOT: Final = {
    1: "finds the answer too long for one message",
    2: "has no such object",
    3: "does not take the value",
    4: "lets nobody write it",
    6: "does not grant access to it",
    7: "wants another type",
    8: "wants another length",
    9: "wants another encoding",
    10: "does not take the value",
    11: "has no such object",
    12: "does not take the value now",
    16: "does not grant us access",
    17: "lets nobody write it",
    18: "has no such object now",
}


class Manager:
    """Speaks to the agent at the other end of `port`. Every call is one exchange, without a retry.

    Raises Unavailable (silence, or an error that may pass), BadReply or Misconfigured.
    """

    def __init__(self, port: Port, *, version: Version, community: str, within_s: float) -> None:
        self._port = port
        self._version = _NUMBER[version]
        self._module = api.PROTOCOL_MODULES[self._version]
        self._community = community
        self._within_s = within_s

    async def set(self, values: Mapping[Oid, int]) -> None:
        """Set all objects at once: the agent sets either all of them or none (RFC 3416, 4.2.5)."""
        integer = self._module.Integer
        pairs = [(oid, integer(value)) for oid, value in values.items()]
        await self._ask(self._module.SetRequestPDU(), pairs)

    async def get(self, oids: Sequence[Oid]) -> dict[Oid, int]:
        """The objects' values."""
        pairs = [(oid, self._module.null) for oid in oids]
        found = await self._ask(self._module.GetRequestPDU(), pairs)
        return {oid: self._integer(oid, value) for oid, value in found}

    async def _ask(self, pdu: Any, pairs: Sequence[tuple[Oid, Any]]) -> list[tuple[Oid, Any]]:
        module = self._module
        module.apiPDU.set_defaults(pdu)
        module.apiPDU.set_varbinds(pdu, pairs)
        message = module.Message()
        module.apiMessage.set_defaults(message)
        module.apiMessage.set_community(message, self._community)
        module.apiMessage.set_pdu(message, pdu)
        request = encoder.encode(message)
        answers: list[Any] = []
        await self._port.exchange(
            request,
            self._scan(int(module.apiPDU.get_request_id(pdu)), answers.append),
            answer_bytes=len(request),
            answer_within_s=self._within_s,
            late_s=0.0,
            mistakable=False,  # it bears the number of its question
        )
        (answer,) = answers
        if status := int(module.apiPDU.get_error_status(answer)):
            raise self._error(status, int(module.apiPDU.get_error_index(answer, True)), pairs)
        found = [(tuple(oid), value) for oid, value in module.apiPDU.get_varbinds(answer)]
        if [oid for oid, _ in found] != [oid for oid, _ in pairs]:
            raise BadReply(f"{self._port.name}: the agent answers for other objects than asked")
        return found

    def _scan(self, request_id: int, keep: Callable[[Any], None]) -> Scan:
        """Finds the answer, read once: decoding takes longer than all else here."""

        def answer(received: bytearray) -> bytes | None:
            datagram = bytes(received)
            received.clear()
            pdu = self._pdu(datagram)
            if int(self._module.apiPDU.get_request_id(pdu)) != request_id:
                remark(received, "the agent answered another request")  # one that was given up
                return None
            keep(pdu)
            return datagram

        return answer

    def _pdu(self, datagram: bytes) -> Any:
        api_message = self._module.apiMessage
        try:
            message, rest = decoder.decode(datagram, asn1Spec=self._module.Message())
            pdu = api_message.get_pdu(message)
        except UNREADABLE:
            raise BadReply(f"{len(datagram)} bytes that are no SNMP message") from None
        if rest or not isinstance(pdu, self._module.GetResponsePDU):
            raise BadReply("an SNMP message that answers nothing")
        if int(api_message.get_version(message)) != self._version:
            raise BadReply("the agent answers in another version of SNMP")
        if bytes(api_message.get_community(message)) != self._community.encode():
            raise BadReply("the agent answers for another community")
        return pdu

    def _error(self, status: int, index: int, pairs: Sequence[tuple[Oid, object]]) -> DriverError:
        name = dotted(pairs[index - 1][0]) if 1 <= index <= len(pairs) else "an object"
        where = f"{self._port.name}: {name}: the agent"
        if (passing := _MAY_PASS.get(status)) is not None:
            return Unavailable(f"{where} reports: {passing}")
        return Misconfigured(f"{where} {_WILL_NOT.get(status, 'refuses')} (error {status})")

    def _integer(self, oid: Oid, value: object) -> int:
        if isinstance(value, _ABSENT):
            raise Misconfigured(f"{self._port.name}: {dotted(oid)}: the agent has no such object")
        if not isinstance(value, Integer):
            raise BadReply(f"{self._port.name}: {dotted(oid)} is no integer")
        return int(value)


def dotted(oid: Oid) -> str:
    """The usual notation."""
    return ".".join(map(str, oid))
