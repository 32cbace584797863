"""A small DNS client: one question to one server, over UDP or TCP, and its answer taken apart.

To prove that a name resolves inside the cluster, whatever the host's own resolver thinks. Asks exactly the server it is
told and no other; keeps nothing. The standard library alone.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
import time
from dataclasses import dataclass
from enum import IntEnum

from localk8s.model.errors import KubernetesError, UsageError


class RecordType(IntEnum):
    """The kinds of records that cluster DNS has."""

    A = 1
    NS = 2
    CNAME = 5
    SOA = 6
    PTR = 12
    TXT = 16
    AAAA = 28
    SRV = 33
    ANY = 255


class ResponseCode(IntEnum):
    """What a server says about a question as a whole."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5


@dataclass(frozen=True, slots=True)
class Record:
    """One record of an answer."""

    name: str
    """Its owner, without the last dot."""
    type: int
    """A ``RecordType`` where we know it."""
    ttl: int
    """Seconds for which it may be kept."""
    data: str
    """As it stands in a zone file: ``10.96.0.1``; ``0 50 80 name`` for SRV; a name without the last dot."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered."""

    code: int
    """A ``ResponseCode`` where we know it."""
    records: tuple[Record, ...]
    """The answer section."""
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    authoritative: bool = False
    truncated: bool = False

    def data(self, record_type: int) -> tuple[str, ...]:
        """The data of the records of that type in the answer section, sorted."""
        return tuple(sorted(record.data for record in self.records if record.type == record_type))


class MalformedError(ValueError):
    """Bytes that are no DNS message."""


def query(
    server: str, name: str, record_type: int = RecordType.A, *, port: int = 53, timeout: float = 1.0, tcp: bool = False
) -> Answer:
    """Ask ``server`` for ``name``; over UDP first, and again over TCP when the answer did not fit.

    Args:
        server: an IP address.
        name: a full name; the last dot may be missing.
        record_type: see ``RecordType``.
        timeout: seconds in all; a lost UDP packet is sent again within them.
        tcp: ask over TCP at once.

    Raises:
        KubernetesError: no answer in time, or none that can be understood.
        UsageError: ``name`` is no DNS name.
    """
    number = int.from_bytes(os.urandom(2), "big")
    question = encode_question(number, name, record_type)
    deadline = time.monotonic() + timeout
    where = f"The DNS server {server}"
    try:
        if not tcp:
            answer = _ask_udp(server, port, question, deadline)
            if not answer.truncated:
                return answer
        return _ask_tcp(server, port, question, deadline)
    except TimeoutError as exc:
        raise KubernetesError(f"{where} did not answer within {timeout:g} s.") from exc
    except OSError as exc:
        raise KubernetesError(f"{where} cannot be asked: {exc.strerror or exc}.") from exc
    except MalformedError as exc:
        raise KubernetesError(f"{where} answered something that is no DNS message.", details=str(exc)) from exc


def reverse_name(address: str) -> str:
    """The name under which the PTR record of ``address`` stands: ``1.0.96.10.in-addr.arpa``."""
    return ipaddress.ip_address(address).reverse_pointer


def encode_question(number: int, name: str, record_type: int) -> bytes:
    """A question as it goes over the wire, recursion desired.

    Args:
        number: the message's id, 0 to 65535.

    Raises:
        UsageError: ``name`` is no DNS name.
    """
    packed = b""
    for label in name.rstrip(".").split(".") if name.rstrip(".") else ():
        raw = label.encode("ascii", "replace")
        if not 0 < len(raw) < 64 or b"?" in raw:
            raise UsageError(f"{name!r} is no DNS name.")
        packed += bytes([len(raw)]) + raw
    if len(packed) > 254:
        raise UsageError(f"{name!r} is no DNS name.")
    return struct.pack("!6H", number, 0x0100, 1, 0, 0, 0) + packed + b"\0" + struct.pack("!2H", record_type, 1)


def decode_answer(message: bytes, question: bytes) -> Answer | None:
    """The answer in ``message``, or None when it answers another question than ``question``.

    Raises:
        MalformedError: it is no DNS message.
    """
    if len(message) < 12:
        raise MalformedError("shorter than a header")
    number, flags, *counts = struct.unpack_from("!6H", message)
    if number != struct.unpack_from("!H", question)[0] or not flags & 0x8000:
        return None
    at = 12
    if counts[0] == 1:
        name, at = _name(message, at)
        asked, _ = _name(question, 12)
        if name.lower() != asked.lower() or message[at : at + 4] != question[-4:]:
            return None
        at += 4
    elif flags & 0xF == ResponseCode.NOERROR:
        return None  # only an error may leave the question out
    records, at = _records(message, at, counts[1])
    authority, at = _records(message, at, counts[2])
    additional, _ = _records(message, at, counts[3])
    return Answer(flags & 0xF, records, authority, additional, bool(flags & 0x0400), bool(flags & 0x0200))


def _ask_udp(server: str, port: int, question: bytes, deadline: float) -> Answer:
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect((server, port))  # answers of others do not get here
        pause = 0.2
        while True:
            sock.send(question)
            again = min(deadline, time.monotonic() + pause)
            pause *= 2
            while (left := again - time.monotonic()) > 0:
                sock.settimeout(left)
                try:
                    message = sock.recv(65535)
                except TimeoutError:
                    break
                if (answer := decode_answer(message, question)) is not None:
                    return answer
            if time.monotonic() >= deadline:
                raise TimeoutError


def _ask_tcp(server: str, port: int, question: bytes, deadline: float) -> Answer:
    with socket.create_connection((server, port), timeout=_left(deadline)) as sock:
        sock.sendall(struct.pack("!H", len(question)) + question)
        (length,) = struct.unpack("!H", _exactly(sock, 2, deadline))
        answer = decode_answer(_exactly(sock, length, deadline), question)
    if answer is None:
        raise MalformedError("the answer to another question")
    return answer


def _exactly(sock: socket.socket, length: int, deadline: float) -> bytes:
    received = b""
    while len(received) < length:
        sock.settimeout(_left(deadline))
        piece = sock.recv(length - len(received))
        if not piece:
            raise MalformedError("the connection ended in the middle of the answer")
        received += piece
    return received


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _name(message: bytes, at: int) -> tuple[str, int]:
    """The name at ``at``, following compression, and where what comes after it begins."""
    labels: list[str] = []
    end = -1
    jumps = 0
    while True:
        if at >= len(message):
            raise MalformedError("a name runs out of the message")
        length = message[at]
        if length >= 0xC0:
            if at + 1 >= len(message) or (jumps := jumps + 1) > 64:
                raise MalformedError("a name points nowhere")
            end = at + 2 if end < 0 else end
            at = (length & 0x3F) << 8 | message[at + 1]
        elif length >= 0x40 or at + 1 + length > len(message):
            raise MalformedError("a label of impossible length")
        elif length == 0:
            return ".".join(labels), at + 1 if end < 0 else end
        else:
            labels.append(message[at + 1 : at + 1 + length].decode("latin-1"))
            at += 1 + length


def _records(message: bytes, at: int, count: int) -> tuple[tuple[Record, ...], int]:
    records = []
    for _ in range(count):
        record, at = _record(message, at)
        records.append(record)
    return tuple(records), at


def _record(message: bytes, at: int) -> tuple[Record, int]:
    name, at = _name(message, at)
    if at + 10 > len(message):
        raise MalformedError("a record runs out of the message")
    kind, _, ttl, length = struct.unpack_from("!2HIH", message, at)
    at += 10
    if at + length > len(message):
        raise MalformedError("a record runs out of the message")
    return Record(name, kind, ttl, _data(message, at, length, kind)), at + length


def _data(message: bytes, at: int, length: int, kind: int) -> str:
    raw = message[at : at + length]
    if kind in (RecordType.A, RecordType.AAAA):
        if length != (4 if kind == RecordType.A else 16):
            raise MalformedError("an address of impossible length")
        return str(ipaddress.ip_address(raw))
    if kind in (RecordType.CNAME, RecordType.NS, RecordType.PTR):
        return _name(message, at)[0]
    if kind == RecordType.SRV and length > 6:
        priority, weight, port = struct.unpack_from("!3H", message, at)
        return f"{priority} {weight} {port} {_name(message, at + 6)[0]}"
    if kind == RecordType.SOA:
        server, at = _name(message, at)
        mailbox, at = _name(message, at)
        if at + 20 > len(message):
            raise MalformedError("a record runs out of the message")
        return " ".join([server, mailbox, *map(str, struct.unpack_from("!5I", message, at))])
    if kind == RecordType.TXT:
        strings, position = [], 0
        while position < length:
            strings.append(raw[position + 1 : position + 1 + raw[position]].decode("latin-1"))
            position += 1 + raw[position]
        return "".join(strings)
    return raw.hex()
