"""Port-forward's words, its choice of pods, and its wire."""

from __future__ import annotations

import asyncio
import struct
import zlib
from typing import Any

import pytest
from cli_door import Door, assert_one_sentence
from hypothesis import given
from hypothesis import strategies as st

from localk8s.helpers.port_forward_pipes import PodSide
from localk8s.helpers.port_forward_targets import (
    Kind,
    PodSource,
    PortPair,
    Target,
    container_port,
    is_ready,
    parse_port,
    parse_target,
    selector_text,
    target_port,
)
from localk8s.kube.endpoint import Endpoint
from localk8s.kube.rest import RestClient
from localk8s.kube.streams import Frame, Frames, FrameType, Headers, control_frame, data_frame
from localk8s.model.errors import UsageError
from localk8s.model.hints import Correction


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("svc/web", Kind.SERVICE),
        ("Service/web", Kind.SERVICE),
        ("web", Kind.POD),
        ("po/web", Kind.POD),
        ("sts/web", Kind.STATEFUL_SET),
        ("job/web", Kind.JOB),
    ],
)
def test_targets(text: str, kind: Kind) -> None:
    assert parse_target(text, "shop") == Target(kind, "web", "shop")


@pytest.mark.parametrize("text", ["", "svc/", "/web", "node/x", "svc/a/b", "svc/A", "svc/a b", "pod/../x", "svc/web\n"])
def test_no_targets(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_target(text)
    assert isinstance(caught.value.hint, Correction)
    assert caught.value.hint.wrong == text
    parse_target(caught.value.hint)


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("80", PortPair(80, 80)),
        ("8080:80", PortPair(8080, 80)),
        (":80", PortPair(0, 80)),
        ("0:http", PortPair(0, "http")),
        ("http", PortPair(0, "http")),
    ],
)
def test_ports(text: str, pair: PortPair) -> None:
    assert parse_port(text) == pair


@pytest.mark.parametrize("text", ["", ":", "80:", "0", "65536", "65536:1", "-1:80", "a:80", "1:2:3", "٣", "80 ", "HTTP"])
def test_no_ports(text: str) -> None:
    with pytest.raises(UsageError):
        parse_port(text)


def test_selectors_are_spelled_as_the_api_reads_them() -> None:
    rules = [
        {"key": "tier", "operator": "In", "values": ["a", "b"]},
        {"key": "old", "operator": "DoesNotExist"},
        {"key": "new", "operator": "Exists"},
        {"key": "zone", "operator": "NotIn", "values": ["x"]},
    ]
    assert selector_text({"matchLabels": {"app": "web"}, "matchExpressions": rules}) == (
        "app=web,tier in (a,b),!old,new,zone notin (x)"
    )


def _pod(*, ready: str = "True", phase: str = "Running", deleted: bool = False, address: str = "10.0.0.1") -> dict[str, Any]:
    return {
        "metadata": {"name": "p", **({"deletionTimestamp": "2026-01-01T00:00:00Z"} if deleted else {})},
        "spec": {
            "containers": [
                {"ports": [{"name": "http", "containerPort": 8080}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}]}
            ]
        },
        "status": {"phase": phase, "podIP": address, "conditions": [{"type": "Ready", "status": ready}]},
    }


def test_only_pods_that_stay_and_are_ready_take_connections() -> None:
    assert is_ready(_pod())
    assert not is_ready(_pod(ready="False"))
    assert not is_ready(_pod(deleted=True))
    assert not is_ready(_pod(phase="Succeeded"))
    assert not is_ready(_pod(address=""))


def test_ports_by_name_lead_through_service_and_pod() -> None:
    service = {
        "spec": {"ports": [{"name": "web", "port": 80, "targetPort": "http"}, {"name": "d", "port": 53, "protocol": "UDP"}]}
    }
    assert target_port(service, 80) == target_port(service, "web") == "http"
    assert target_port(service, 8080) is None
    assert target_port(service, 53) is None
    assert container_port(_pod(), "http") == 8080
    assert container_port(_pod(), "dns") is None
    assert container_port(_pod(), 9) == 9


@pytest.mark.parametrize(
    ("ports", "said", "hint"),
    [
        ([{"port": 53, "protocol": "UDP"}], "53/UDP", ""),
        ([{"port": 53, "protocol": "UDP"}, {"port": 9153}], "53/UDP, 9153/TCP", "localk8s port-forward svc/x 9153 -n default"),
        ([], "none", ""),
    ],
)
def test_a_udp_port_is_not_named_as_a_tcp_one(ports: list[dict[str, Any]], said: str, hint: str) -> None:
    source = PodSource(RestClient(Endpoint("127.0.0.1", 1)), Target(Kind.SERVICE, "x"))
    source._object = {"spec": {"ports": ports}}
    with pytest.raises(UsageError) as caught:
        source.check_port(53)
    assert caught.value.message == f"Service x has no TCP port 53; its ports: {said}."
    assert caught.value.hint == hint


@given(st.lists(st.tuples(st.sampled_from([1, 3]), st.binary(max_size=300), st.booleans()), max_size=8), st.integers(1, 50))
def test_frames_come_out_whole_however_they_are_cut(sent: list[tuple[int, bytes, bool]], step: int) -> None:
    wire = b"".join(data_frame(stream, body, fin=fin) for stream, body, fin in sent)
    frames = Frames()
    got = [frame for begin in range(0, len(wire), step) for frame in frames.feed(wire[begin : begin + step])]
    assert got == [Frame(FrameType.DATA, stream, fin, body) for stream, body, fin in sent]


def test_control_frames_say_their_stream() -> None:
    (frame,) = Frames().feed(control_frame(FrameType.RST_STREAM, struct.pack(">II", 3, 1)))
    assert (frame.kind, frame.stream) == (FrameType.RST_STREAM, 3)


def test_headers_are_one_compressed_stream_in_lower_case() -> None:
    headers = Headers()
    inflate = zlib.decompressobj()
    for stream, fin in ((1, True), (3, False)):
        wire = headers.syn_stream(stream, {"streamType": "data"}, fin=fin)
        (frame,) = Frames().feed(wire)
        assert (frame.kind, frame.stream, frame.fin) == (FrameType.SYN_STREAM, stream, fin)
        assert inflate.decompress(frame.body[10:]) == struct.pack(">II", 1, 10) + b"streamtype" + struct.pack(">I", 4) + b"data"


def test_what_makes_no_sense_is_refused_in_a_sentence(door: Door) -> None:
    door("start")
    assert_one_sentence(door("port-forward", "node/x", "80"), {2})
    assert_one_sentence(door("port-forward", "svc/x", "eighty!"), {2})
    assert_one_sentence(door("port-forward", "svc/x"), {2})
    assert_one_sentence(door("port-forward", "-c", "none", "svc/x", "80"), {3})


class EagerTransport(asyncio.Transport):
    """As in Python 3.11.2: it begins to read once ``connection_made`` has returned, whether that paused it or not."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """As it is."""

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


@pytest.mark.parametrize("attached", [False, True])
def test_nothing_is_read_before_there_is_somewhere_to_put_it(attached: bool) -> None:
    async def connect() -> bool:
        side, transport = PodSide(), EagerTransport()
        side.connection_made(transport)
        transport.reading = True
        if attached:
            side.attach(PodSide())
        await asyncio.sleep(0)
        return transport.reading

    assert asyncio.run(connect()) is attached


class Slow(asyncio.Protocol):
    """A far end that reads only when it is let."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.pause_reading()  # type: ignore[attr-defined]


def test_ending_at_ctrl_c_what_was_closed_and_lost_before() -> None:
    """With bytes still on their way at the close, asyncio ends in an AttributeError when told to abort afterwards."""

    async def connect() -> None:
        loop = asyncio.get_running_loop()
        far: list[Slow] = []
        server = await loop.create_server(lambda: far.append(Slow()) or far[-1], "127.0.0.1", 0)  # type: ignore[func-returns-value]
        port = server.sockets[0].getsockname()[1]
        _, side = await loop.create_connection(PodSide, "127.0.0.1", port)
        side.write(b"x" * 20_000_000)
        side.end(clean=True)
        while not far:
            await asyncio.sleep(0)
        far[0].transport.resume_reading()  # type: ignore[attr-defined]
        async with asyncio.timeout(20):
            while not side.lost:
                await asyncio.sleep(0.01)
        side.end(clean=False)
        side.end(clean=True)
        far[0].transport.close()
        server.close()
        await asyncio.sleep(0)

    asyncio.run(connect())
