"""How large anything in a message of the wire may be. `docs/wire.md` shows them in one table.

A decoder refuses what is beyond, so that whoever reads a decoded message needs no bounds of his
own. They are generous: a gateway of ours writes far less, and cuts what would be more.
"""

from typing import Final

NUMBER: Final = 2**53
"""Integers, and the amount of any number in a detail or a value: what every language's JSON reads
exactly, what every database holds, and what is finite after any sum or product of a few."""

# Characters.

NAME: Final = 63
"""A shard, gateway, site or sensor: `wire.topics.NAME_PATTERN`."""

TOPIC: Final = 300
STREAM: Final = 100
RECORD_NAME: Final = 300
"""`bn` and `n` of a SenML record; a whole name has at most 205."""

UNIT: Final = 16
REASON: Final = 1000
"""Why: of a reading without a value, a gap, a command, a reply; the cause of an interlock."""

KIND: Final = 64
TEXT: Final = 4000
"""The text of an event."""

DETAIL_KEY: Final = 64
DETAIL_TEXT: Final = 2000
ID: Final = 100
PERSON: Final = 200
MAC: Final = 128
SIGNATURE: Final = 128
MACHINE: Final = 100
"""What tells the machine of a gateway from another."""

FAULT: Final = 400
"""The text of a DecodeError."""

# Counts.

RECORDS: Final = 10_000
"""SenML records in a batch."""

EVENTS: Final = 3000
GAPS: Final = 1000
INTERVALS: Final = 10_000
"""Intervals of batch numbers in all gaps of a batch."""

ACK_INTERVALS: Final = 1000
DETAIL_KEYS: Final = 32
FAULTS: Final = 1000
"""Records of a batch that may be wrong. With more of them the message as a whole is."""

ITEMS: Final = 120_000
"""Commas and opening brackets in the JSON of a batch: what a decoder may have to build."""

FAULT_BRACKETS: Final = 32
FAULT_COMMAS: Final = 200
"""In a record that is wrong and is put aside by itself: how deep it is nested, how many labels it
has."""

# Bytes.

JSON_BYTES: Final = 2 << 20
"""The JSON of a batch, unpacked."""

SMALL_BYTES: Final = 64 << 10
"""A message of plain JSON: an ack, a status, a command and so on."""

PACKET_TO_GATEWAY: Final = 64 << 10
"""An MQTT packet that a gateway takes."""

PACKET_TO_CLOUD: Final = 4 << 20
"""An MQTT packet that the cloud takes."""

INBOX_TO_GATEWAY: Final = 1 << 20
INBOX_TO_CLOUD: Final = 32 << 20
"""Payloads that may wait in memory for whoever takes them."""

# What our own gateway writes at most; the cloud takes more of it.

SEALED_EVENTS: Final = 1000
SEALED_INTERVALS: Final = 1000
SEALED_BYTES: Final = 1 << 20
"""The JSON of a batch."""
