"""named under our hand: it takes what it is given, keeps what it had when that is bad, and comes back."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest
from control_plane import free_port, named_program

from localk8s.kube import dns_named
from localk8s.kube.dns_named import Named, NamedSettings
from localk8s.kube.dns_query import RecordType, query
from localk8s.kube.dns_zones import Settings, render_zone
from localk8s.model.errors import KubernetesError
from localk8s.system.wait import wait_until

pytestmark = pytest.mark.real

SETTINGS = Settings("cluster.local", (ip_network("10.96.0.0/16"),), "127.0.0.1")
ZONE = "cluster.local"


def zone(serial: int, *records: str) -> dict[str, str]:
    return {ZONE: render_zone(ZONE, SETTINGS, records, serial)}


@pytest.fixture
def settings(tmp_path: Path) -> NamedSettings:
    program = named_program(tmp_path)
    if program is None:
        pytest.skip("there is no named in the cache: make setup")
    return NamedSettings(program, tmp_path / "zones", "127.0.0.1", free_port(), (ZONE,))


@pytest.fixture
def named(settings: NamedSettings) -> Iterator[Named]:
    running = Named(settings, os.environ)
    running.prepare(zone(1))
    yield running
    running.stop()


def addresses(settings: NamedSettings, name: str) -> tuple[str, ...]:
    return query("127.0.0.1", f"{name}.{ZONE}", port=settings.port).data(RecordType.A)


def test_it_serves_what_it_is_given_one_after_the_other(named: Named, settings: NamedSettings) -> None:
    for serial in range(2, 12):
        assert named.serve(zone(serial, f"a.{ZONE}. A 10.0.0.{serial}"), serial)
        assert addresses(settings, "a") == (f"10.0.0.{serial}",)


def test_a_zone_that_it_refuses_leaves_the_one_of_before(
    named: Named, settings: NamedSettings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dns_named, "_GIVE_UP", 0.5)
    assert named.serve(zone(2, f"a.{ZONE}. A 10.0.0.1"), 2)
    assert not named.serve(zone(3, f"a.{ZONE}. A 999.0.0.1"), 3)
    assert "does not take cluster.local" in capfd.readouterr().err

    def answers() -> bool:
        try:
            return addresses(settings, "a") == ("10.0.0.1",)
        except KubernetesError:
            return False

    wait_until(answers, what="named", timeout=10, interval=0.01)
    assert named.serve(zone(4, f"a.{ZONE}. A 10.0.0.4"), 4)


def test_files_that_look_old_are_taken_all_the_same(
    named: Named, settings: NamedSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # as after a clock was set back: named passes over files that are older than its last look
    monkeypatch.setattr(dns_named, "_GIVE_UP", 1.0)
    assert named.serve(zone(2), 2)
    monkeypatch.setattr(Named, "_touch", lambda self, path: os.utime(path, (1, 1)))
    assert named.serve(zone(3, f"a.{ZONE}. A 10.0.0.1"), 3)
    assert addresses(settings, "a") == ("10.0.0.1",)


def test_one_that_is_killed_is_started_again(named: Named, settings: NamedSettings) -> None:
    assert named.serve(zone(2, f"a.{ZONE}. A 10.0.0.1"), 2)
    os.kill(int((settings.directory / "named.pid").read_text()), signal.SIGKILL)

    def back() -> bool:
        named.ensure()
        try:
            return addresses(settings, "a") == ("10.0.0.1",)
        except KubernetesError:
            return False

    wait_until(back, what="named", timeout=10, interval=0.01)


def test_an_abandoned_one_does_not_keep_the_caller(named: Named) -> None:
    named.abandon()
    assert not named.serve(zone(2), 2)


def test_a_program_that_is_not_there(settings: NamedSettings) -> None:
    with pytest.raises(KubernetesError, match="cannot be run"):
        Named(settings._replace(program=Path("/nowhere/named")), os.environ).prepare({})
