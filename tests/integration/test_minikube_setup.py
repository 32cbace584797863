"""A pinned minikube from a site in the official layout: a real HTTP server on loopback, no other network."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from minikube_world import Told, World

from localk8s.drivers.base import SupportsInstall
from localk8s.model.errors import ArtifactError, ConfigError


class Quiet(SimpleHTTPRequestHandler):
    """A server that does not talk."""

    asked: list[str] = []  # noqa: RUF012 - one test's list

    def log_message(self, *args: object) -> None:
        """Remember what was asked for."""
        Quiet.asked.append(self.path)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    folder = tmp_path / "site"
    folder.mkdir()
    Quiet.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path, monkeypatch)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return made


def publish(folder: Path, world: World, version: str = "v1.38.1", *, digest: str = "", says: str = "") -> Path:
    architecture = world.driver()._context.host.facts().architecture
    program = folder / version / f"minikube-linux-{architecture}"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\necho \'{{"minikubeVersion":"{says or version}"}}\'\n')
    program.with_name(f"{program.name}.sha256").write_text(digest or hashlib.sha256(program.read_bytes()).hexdigest())
    return program


def test_it_is_fetched_checked_and_used(world: World, site: tuple[Path, str]) -> None:
    folder, address = site
    publish(folder, world)
    driver, told = world.driver({"release-mirror": address}), Told()
    assert isinstance(driver, SupportsInstall)
    driver.install(told)
    assert told.finished[0].startswith(f"minikube v1.38.1 from {address}/v1.38.1/minikube-linux-")
    own = driver._context.layout.tools / "minikube"
    assert os.access(own, os.X_OK) and list(own.parent.iterdir()) == [own], "nothing half-written beside it"
    finding = world.driver().check(world_spec())[0]
    assert finding.message == f"minikube v1.38.1 ({own})."
    Quiet.asked.clear()
    world.driver({"release-mirror": address}).install(Told())
    assert Quiet.asked == [], "one that is there is not fetched again"


def world_spec() -> object:
    from localk8s.model.spec import ClusterSpec

    return ClusterSpec("default", "minikube", options={"vm-driver": "vmware"})


@pytest.mark.parametrize("digest", ["0" * 64, "not a digest", ""])
def test_what_is_not_what_its_digest_says_is_not_kept(world: World, site: tuple[Path, str], digest: str) -> None:
    folder, address = site
    program = publish(folder, world, digest=digest or "x")
    if not digest:
        program.with_name(f"{program.name}.sha256").unlink()
    with pytest.raises(ArtifactError) as caught:
        world.driver({"release-mirror": address}).install(Told())
    assert caught.value.hint
    tools = world.driver()._context.layout.tools
    assert not tools.exists() or list(tools.iterdir()) == []


def test_a_digest_in_the_configuration_wins_over_the_one_beside_it(world: World, site: tuple[Path, str]) -> None:
    folder, address = site
    program = publish(folder, world)
    right = hashlib.sha256(program.read_bytes()).hexdigest()
    with pytest.raises(ArtifactError, match="is not what its digest says"):
        world.driver({"release-mirror": address, "release-sha256": "1" * 64}).install(Told())
    program.with_name(f"{program.name}.sha256").unlink()
    world.driver({"release-mirror": address, "release-sha256": right}).install(Told())
    with pytest.raises(ConfigError, match="is no SHA-256 digest"):
        (world.driver()._context.layout.tools / "minikube").unlink()
        world.driver({"release-mirror": address, "release-sha256": "abc"}).install(Told())


def test_another_release_can_be_asked_for_but_not_one_that_is_too_old(world: World, site: tuple[Path, str]) -> None:
    folder, address = site
    publish(folder, world, "v1.36.0")
    world.driver({"release-mirror": address, "release-version": "1.36.0"}).install(Told())
    (world.driver()._context.layout.tools / "minikube").unlink()
    for version in ("v1.28.0", "latest"):
        with pytest.raises(ConfigError, match="no release of minikube that localk8s can use"):
            world.driver({"release-mirror": address, "release-version": version}).install(Told())
    with pytest.raises(ArtifactError, match="could not be downloaded"):
        world.driver({"release-mirror": address, "release-version": "v1.37.0"}).install(Told())


def test_an_installed_one_is_left_as_it_is(
    world: World, site: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    told = Told()
    world.driver({"release-mirror": site[1]}).install(told)
    assert told.finished == [f"minikube v1.38.1 is there ({tmp_path / 'bin' / 'minikube'})"]
    assert Quiet.asked == []


def test_offline_nothing_is_asked(world: World, site: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALK8S_OFFLINE", "1")
    with pytest.raises(ArtifactError, match="set to be offline"):
        world.driver({"release-mirror": site[1]}).install(Told())
    assert Quiet.asked == []
