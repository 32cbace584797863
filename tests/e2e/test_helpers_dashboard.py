"""The dashboard in a real Chromium, on a real native cluster: live, by keyboard, on a phone, with 500 pods, alone."""

from __future__ import annotations

import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Page, chromium
from localk8s_door import RealDoor
from web_workload import library, running

from localk8s import Cluster
from localk8s.helpers.dashboard_web import entry_page
from localk8s.model.errors import KubernetesError
from localk8s.system.wait import wait_until

pytestmark = pytest.mark.real
TALK = """\
apiVersion: v1
kind: Pod
metadata: {name: talk}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: localk8s.dev/echo:1
    command: [sh, -c, "echo '<b>first</b>'; n=0; while true; do n=$((n + 1)); echo line $n; sleep 0.3; done"]
"""
_LIVE = "document.querySelector('#connection')?.textContent == 'live'"


@pytest.fixture(scope="module")
def talking(door: RealDoor) -> Iterator[Cluster]:
    """A cluster with a pod that writes."""
    door.do("start")
    door.do("kubectl", "apply", "-f", "-", stdin=TALK)
    door.do("kubectl", "wait", "--for=condition=Ready", "pod/talk", "--timeout=120s", timeout=130)
    yield library(door)
    door.do("delete", "--yes")


@pytest.fixture(scope="module")
def address(talking: Cluster) -> Iterator[str]:
    """The dashboard's address, with its token."""
    with talking.dashboard() as url:
        yield url


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[Page]:
    """A browser that has it open."""
    with chromium() as tab:
        tab.resize(1280, 800)
        tab.open(address)
        tab.wait(_LIVE, 30)
        yield tab


def _tab(page: Page, name: str) -> None:
    page.look(f"document.querySelector('[data-tab={name}]').click()")


def test_it_shows_the_cluster_and_charts(page: Page) -> None:
    page.wait("document.querySelectorAll('.chart').length == 1")
    page.wait("(document.querySelector('.cpu-line').getAttribute('points') ?? '').split(' ').length > 1", 40)
    page.wait("document.title == 'default · localk8s'")
    assert "token" not in page.look("location.href")
    assert page.look("document.cookie") == ""


def test_a_new_pod_is_there_within_two_seconds_and_goes_again(page: Page, talking: Cluster) -> None:
    _tab(page, "pods")
    page.wait("[...document.querySelectorAll('td.name')].some((each) => each.textContent == 'talk')")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "late", "namespace": "default"},
        "spec": {"nodeName": "nowhere", "containers": [{"name": "a", "image": "localk8s.dev/echo:1"}]},
    }
    client = talking.client()
    there = "[...document.querySelectorAll('td.name')].some((each) => each.textContent == 'late')"
    client.apply(pod)
    page.wait(there, 2)
    client.request("DELETE", "/api/v1/namespaces/default/pods/late", {"gracePeriodSeconds": 0})
    page.wait(f"!{there}", 2)
    client.close()


def test_logs_come_by_keyboard_and_as_text(page: Page) -> None:
    _tab(page, "overview")
    page.press("2", "2")
    page.wait("document.querySelector('[data-tab=pods]').getAttribute('aria-current') == 'page'")
    page.press("/", "/")
    page.write("talk")
    page.wait("document.querySelectorAll('tbody tr').length == 1")
    page.look("document.querySelector('tbody tr').focus()")
    page.press("Enter")
    page.wait("document.querySelector('#log').textContent.includes('line 3')")
    assert page.look("document.querySelector('#log b')") is None
    assert page.look("document.querySelector('#log').textContent.includes('<b>first</b>')")
    lines = "document.querySelector('#log').textContent.split('\\n').length"
    before = page.look(lines)
    page.wait(f"{lines} > {before}", 10)
    page.press("Escape")
    page.wait("!document.querySelector('#details').open")
    page.look("document.querySelector('#search').focus()")
    page.press("Escape")
    page.wait("document.querySelector('#search').value == ''")


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False), (390, True)])
def test_it_fits_every_screen(page: Page, width: int, dark: bool, tmp_path: Path) -> None:
    page.resize(width, 840, dark=dark, phone=width < 500)
    for name in ("overview", "pods", "services", "events", "nodes"):
        _tab(page, name)
        page.wait("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    colour = page.look("getComputedStyle(document.body).backgroundColor")
    assert (colour == "rgb(20, 23, 28)") is dark
    page.picture(tmp_path / "page.png")
    page.resize(1280, 800)


def test_five_hundred_pods_are_drawn_quickly(page: Page, talking: Cluster) -> None:
    client = talking.client(timeout=120)
    for number in range(500):
        name = f"many-{number:03}"
        spec = {"nodeName": "nowhere", "containers": [{"name": "a", "image": "localk8s.dev/echo:1"}]}
        manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        client.post("/api/v1/namespaces/default/pods", manifest)
    _tab(page, "pods")
    page.wait("document.querySelectorAll('tbody tr').length >= 501", 15)
    measure = """new Promise((done) => {
      const began = performance.now();
      document.querySelector('#search').value = 'many-4';
      document.querySelector('#search').dispatchEvent(new Event('input'));
      requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - began)));
    })"""
    assert page.look(measure) < 1000
    assert page.look("document.querySelectorAll('tbody tr').length") == 100
    page.look(
        "(document.querySelector('#search').value = '', document.querySelector('#search').dispatchEvent(new Event('input')))"
    )
    began = time.monotonic()
    _tab(page, "pods")
    page.wait("document.querySelectorAll('tbody tr').length >= 501")
    assert time.monotonic() - began < 15
    client.request("DELETE", "/api/v1/namespaces/default/pods?fieldSelector=spec.nodeName%3Dnowhere", {"gracePeriodSeconds": 0})
    page.wait("document.querySelectorAll('tbody tr').length < 10", 20)
    client.close()


def test_nothing_came_from_elsewhere_and_nothing_went_wrong(page: Page, address: str) -> None:
    own = address.partition("?")[0]
    page.look("1")
    assert {url for url in page.requests if not url.startswith(own)} == set()
    assert page.complaints == []


def test_strangers_stay_outside(address: str) -> None:
    own, _, token = address.partition("?")
    port = own.split(":")[2].strip("/")
    for url, headers, code in (
        (own, {}, 401),
        (f"{own}api/stream", {}, 401),
        (f"{own}api/stream?{token}", {}, 401),
        (address, {"Host": f"evil.test:{port}"}, 421),
        (f"{own}api/stream", {"Sec-Fetch-Site": "cross-site", "Authorization": f"Bearer {token[6:]}"}, 403),
    ):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20)
        assert caught.value.code == code
        caught.value.close()


def test_a_browser_that_starts_with_the_file_gets_in(address: str, tmp_path: Path) -> None:
    """As on a desktop: the file that is opened leads to the page, whose address shows no token, also when loaded again."""
    entry = tmp_path / "entry.html"
    entry.write_text(entry_page(address))
    with chromium() as tab:
        tab.open(entry.as_uri())
        for _ in range(2):
            tab.wait(f"location.origin + '/' == '{address.partition('?')[0]}' && {_LIVE}", 30)
            assert tab.look("location.pathname + location.search + location.hash") == "/#overview"
            tab.call("Page.reload")
        assert tab.complaints == []


def test_an_upgrade_request_is_no_line_on_standard_error(talking: Cluster, door: RealDoor) -> None:
    process = door.spawn("dashboard", "--url")
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().split(":")[2].partition("/")[0])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall(
                f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n".encode()
            )
            assert client.recv(1000).startswith(b"HTTP/1.1 401")
            client.sendall(b"\x16\x03\x01 no HTTP at all\r\n\r\n")
            client.recv(1000)
        process.send_signal(2)
        assert process.communicate(timeout=20)[1] == "interrupted.\n"
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


def test_it_goes_on_when_the_api_restarts(page: Page, talking: Cluster) -> None:
    talking.node().run(["sv", "kill", "/run/localk8s/service/kube-apiserver"])
    client = talking.client(timeout=20)
    spec = {"nodeName": "nowhere", "containers": [{"name": "a", "image": "localk8s.dev/echo:1"}]}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "after-restart"}, "spec": spec}

    def posted() -> bool:
        try:
            client.post("/api/v1/namespaces/default/pods", manifest)
        except KubernetesError as exc:
            return exc.status == 409
        return True

    wait_until(posted, what="the API server to be back", timeout=60)
    _tab(page, "pods")
    page.wait("document.body.innerText.includes('after-restart')", 60)
    page.wait(_LIVE, 60)
    client.delete("/api/v1/namespaces/default/pods/after-restart?gracePeriodSeconds=0")
    client.close()


def test_the_command_prints_the_address_and_why(talking: Cluster, door: RealDoor) -> None:
    with running(door, "dashboard", "--url") as line:
        assert line.startswith("http://127.0.0.1:")
        assert "token=" in line
    assert "not installed" in door.fail("dashboard", "--ui", "headlamp", code=3)
    assert "no dashboard" in door.fail("dashboard", "--ui", "gopher", code=2)
