"""The DNS client against answers made by hand: whole, hostile, late and wrong (a real server: tests/integration)."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localk8s.kube.dns_query import (
    MalformedError,
    RecordType,
    ResponseCode,
    decode_answer,
    encode_question,
    query,
    reverse_name,
)
from localk8s.model.errors import KubernetesError, UsageError

NAME = "a.svc.cluster.local"
POINTER = b"\xc0\x0c"  # the name of the question


def answer_to(question: bytes, *records: tuple[int, bytes], flags: int = 0x8400, number: int | None = None) -> bytes:
    first = struct.unpack_from("!H", question)[0] if number is None else number
    head = struct.pack("!6H", first, flags, 1, len(records), 0, 0)
    body = b"".join(POINTER + struct.pack("!2HIH", kind, 1, 5, len(data)) + data for kind, data in records)
    return head + question[12:] + body


def test_an_answer_is_taken_apart() -> None:
    question = encode_question(7, NAME, RecordType.SRV)
    srv = struct.pack("!3H", 0, 50, 80) + b"\x01b" + POINTER
    message = answer_to(
        question, (33, srv), (1, bytes([10, 96, 0, 1])), (5, b"\x01c" + POINTER), (16, b"\x05hello\x02ab"), (99, b"\1")
    )
    answer = decode_answer(message, question)
    assert answer is not None and answer.authoritative and not answer.truncated and answer.code == ResponseCode.NOERROR
    assert [record.data for record in answer.records] == [f"0 50 80 b.{NAME}", "10.96.0.1", f"c.{NAME}", "helloab", "01"]
    assert {record.name for record in answer.records} == {NAME} and answer.records[0].ttl == 5
    assert answer.data(RecordType.A) == ("10.96.0.1",)


def test_answers_to_other_questions_are_not_taken() -> None:
    question = encode_question(7, NAME, RecordType.A)
    assert decode_answer(answer_to(question, number=8), question) is None
    assert decode_answer(question, question) is None
    assert decode_answer(answer_to(encode_question(7, "b.svc.cluster.local", RecordType.A)), question) is None
    assert decode_answer(answer_to(encode_question(7, NAME, RecordType.SRV)), question) is None
    assert decode_answer(answer_to(encode_question(7, NAME.upper(), RecordType.A)), question) is not None
    assert decode_answer(struct.pack("!6H", 7, 0x8000, 0, 0, 0, 0), question) is None
    refused = decode_answer(struct.pack("!6H", 7, 0x8005, 0, 0, 0, 0), question)
    assert refused is not None and refused.code == ResponseCode.REFUSED


@pytest.mark.parametrize(
    "record",
    [
        POINTER + struct.pack("!2HIH", 1, 1, 5, 4) + b"\1\2\3",
        POINTER + struct.pack("!2HIH", 1, 1, 5, 3) + b"\1\2\3",
        POINTER + struct.pack("!2HIH", 5, 1, 5, 2) + b"\xc0\xff",
        b"\xc0\x2b" + struct.pack("!2HIH", 1, 1, 5, 0),
        b"\x40a\0" + struct.pack("!2HIH", 1, 1, 5, 0),
        b"\x3fa",
        b"",
    ],
)
def test_hostile_records_are_refused(record: bytes) -> None:
    question = encode_question(7, NAME, RecordType.A)
    message = struct.pack("!6H", 7, 0x8400, 1, 1, 0, 0) + question[12:] + record
    with pytest.raises(MalformedError):
        decode_answer(message, question)


def test_a_name_that_points_at_itself_is_refused() -> None:
    question = encode_question(7, NAME, RecordType.A)
    at = len(question)
    message = struct.pack("!6H", 7, 0x8400, 1, 1, 0, 0) + question[12:] + struct.pack("!H", 0xC000 | at) + b"\0" * 20
    with pytest.raises(MalformedError):
        decode_answer(message, question)


@settings(deadline=None)
@given(st.binary(max_size=80), st.integers(0, 3), st.integers(0, 3))
def test_any_bytes_are_an_answer_or_refused(tail: bytes, answers: int, additional: int) -> None:
    question = encode_question(7, NAME, RecordType.A)
    message = struct.pack("!6H", 7, 0x8400, 1, answers, 0, additional) + question[12:] + tail
    for hostile in (tail, message):
        with contextlib.suppress(MalformedError):
            decode_answer(hostile, question)


@pytest.mark.parametrize("name", ["a..b", "ä.b", "x" * 64, ".".join(["abcdefg"] * 40), "."])
def test_what_is_no_name(name: str) -> None:
    if name == ".":
        assert encode_question(1, name, 1)[12:] == b"\0\0\1\0\1"
        return
    with pytest.raises(UsageError):
        encode_question(1, name, 1)


def test_reverse_names() -> None:
    assert reverse_name("10.96.0.1") == "1.0.96.10.in-addr.arpa"


def one_port() -> tuple[socket.socket, socket.socket]:
    """Sockets for TCP and UDP on the same port; a number that is free for one may be taken for the other."""
    while True:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        try:
            return socket.create_server(udp.getsockname()), udp
        except OSError:
            udp.close()


class FakeServer:
    """Answers UDP and TCP on one port of loopback as it is told."""

    def __init__(self) -> None:
        self.tcp, self.udp = one_port()
        self.port = self.udp.getsockname()[1]
        self.asked = 0

    def answer_udp(self, make: Callable[[bytes, int], list[bytes]], times: int = 1) -> None:
        def serve() -> None:
            for _ in range(times):
                question, sender = self.udp.recvfrom(512)
                self.asked += 1
                for message in make(question, self.asked):
                    self.udp.sendto(message, sender)

        threading.Thread(target=serve, daemon=True).start()

    def answer_tcp(self, make: Callable[[bytes], bytes]) -> None:
        def serve() -> None:
            connection, _ = self.tcp.accept()
            with connection:
                answer = make(connection.recv(512)[2:])
                for byte in struct.pack("!H", len(answer)) + answer:
                    connection.send(bytes([byte]))

        threading.Thread(target=serve, daemon=True).start()


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    server = FakeServer()
    yield server
    server.udp.close()
    server.tcp.close()


ADDRESS = (1, bytes([10, 0, 0, 1]))


def test_forged_answers_are_passed_over(fake: FakeServer) -> None:
    def make(question: bytes, _: int) -> list[bytes]:
        number = struct.unpack_from("!H", question)[0]
        forged = answer_to(question, (1, bytes([6, 6, 6, 6])), number=number ^ 1)
        return [forged, answer_to(question, ADDRESS)]

    fake.answer_udp(make)
    assert query("127.0.0.1", NAME, port=fake.port).data(RecordType.A) == ("10.0.0.1",)


def test_a_lost_packet_is_sent_again(fake: FakeServer) -> None:
    fake.answer_udp(lambda question, nth: [answer_to(question, ADDRESS)] if nth == 2 else [], times=2)
    assert query("127.0.0.1", NAME, port=fake.port).data(RecordType.A) == ("10.0.0.1",)


def test_an_answer_that_did_not_fit_is_asked_for_over_tcp(fake: FakeServer) -> None:
    fake.answer_udp(lambda question, _: [answer_to(question, flags=0x8600)])
    fake.answer_tcp(lambda question: answer_to(question, ADDRESS))
    assert query("127.0.0.1", NAME, port=fake.port).data(RecordType.A) == ("10.0.0.1",)


def test_a_tcp_answer_that_ends_in_the_middle(fake: FakeServer) -> None:
    fake.answer_tcp(lambda question: b"")
    with pytest.raises(KubernetesError, match="no DNS message"):
        query("127.0.0.1", NAME, port=fake.port, tcp=True)


def test_silence_is_an_error_in_time(fake: FakeServer) -> None:
    begin = time.monotonic()
    with pytest.raises(KubernetesError, match=r"The DNS server 127\.0\.0\.1 did not answer within 0\.3 s"):
        query("127.0.0.1", NAME, port=fake.port, timeout=0.3)
    assert time.monotonic() - begin < 3


def test_nobody_there_is_an_error_at_once(fake: FakeServer) -> None:
    fake.udp.close()
    fake.tcp.close()
    begin = time.monotonic()
    for tcp in (False, True):
        with pytest.raises(KubernetesError, match="cannot be asked"):
            query("127.0.0.1", NAME, port=fake.port, timeout=5, tcp=tcp)
    assert time.monotonic() - begin < 4
