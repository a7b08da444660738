"""The address of a broker as people write it. Pure."""

import ipaddress
import re
from typing import Final, NamedTuple

_TLS_OF: Final = {
    **dict.fromkeys(("mqtt", "tcp"), False),
    **dict.fromkeys(("mqtts", "ssl", "tls"), True),
}
"""The schemes that MQTT clients use, and whether each means TLS."""

_PORTS: Final = {False: 1883, True: 8883}

_ADDRESS: Final = re.compile(
    r"(?:(?P<scheme>[a-z][a-z0-9+.-]*)://)?"
    r"(?:\[(?P<literal>[0-9a-f:.]+(?:%[\w.-]+)?)\]|(?P<name>[^\s\[\]:/@?#]+)|(?P<bare>[0-9a-f:.]+(?:%[\w.-]+)?))"
    r"(?::(?P<port>[0-9]{1,5}))?/?",
    re.IGNORECASE | re.ASCII,
)


class BrokerAddress(NamedTuple):
    """Where a broker listens. `host` of IPv6 has no brackets. `port` and `tls` are None where the
    text says nothing of them."""

    host: str
    port: int | None
    tls: bool | None

    @property
    def effective_port(self) -> int:
        """The port that is given, else the usual one: 1883, with TLS 8883."""
        return _PORTS[bool(self.tls)] if self.port is None else self.port


def parse_address(text: str) -> BrokerAddress:
    """The address in `text`: HOST, HOST:PORT, [IPV6]:PORT, or a URL such as mqtts://HOST.

    Raises ValueError with one line for whoever wrote it.
    """
    found = _ADDRESS.fullmatch(text.strip())
    if found is None:
        why = "leave the user out, it has a key of its own" if "@" in text else _EXPECTED
        raise ValueError(f"{text!r} is not the address of a broker: {why}")
    scheme = found["scheme"]
    if scheme is not None and scheme.lower() not in _TLS_OF:
        raise ValueError(f"{scheme}:// is not spoken here: use mqtt:// or mqtts://")
    host = found["literal"] or found["name"] or found["bare"]
    if found["name"] is None and not _is_ipv6(host):
        raise ValueError(f"{text!r} is not the address of a broker: {_EXPECTED}")
    port = None if found["port"] is None else int(found["port"])
    if port is not None and not 1 <= port <= 65_535:
        raise ValueError(f"port {port} is not between 1 and 65535")
    return BrokerAddress(host, port, None if scheme is None else _TLS_OF[scheme.lower()])


def is_loopback(host: str) -> bool:
    """Whether what is said to `host` stays on this machine, as far as its spelling shows."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        name = host.lower().rstrip(".")
        return name == "localhost" or name.endswith(".localhost")


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False


def shown(host: str, port: int) -> str:
    """HOST:PORT, with brackets around IPv6."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


_EXPECTED: Final = "expected HOST, HOST:PORT, [IPV6]:PORT or mqtts://HOST"
