"""``mount`` and ``dashboard``: they go on until they are ended."""

from __future__ import annotations

import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from fake.faults import fault
from fake.out import Out, not_found
from fake.world import World

PAGE = "/api/v1/namespaces/kubernetes-dashboard/services/http:kubernetes-dashboard:/proxy/"


def mount(world: World, chosen: str, positional: list[str], flags: dict[str, str], out: Out) -> int:
    """``mount SOURCE:TARGET``: on the first machine, for as long as this runs; its id stands in the profile."""
    found = world.config(chosen)
    if found is None:
        not_found(chosen, out)
    if found["Driver"] == "none":
        print("\nX Exiting due to MK_USAGE: 'none' driver does not support 'minikube mount' command", file=sys.stderr)
        return 14
    if fault(world, "mount") == "no 9p":
        print("\nX Exiting due to HOST_UNSUPPORTED: The host does not support filesystem 9p.", file=sys.stderr)
        return 36
    source, _, target = positional[0].rpartition(":")
    ids = world.profile_dir(chosen) / ".mount-process"
    ids.write_text(f"{ids.read_text() if ids.exists() else ''} {os.getpid()}".strip())
    _change(world, chosen, {target: source})
    print(f"* Mounting host path {source} into VM as {target} ...\n* Successfully mounted {source} to {target}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: _end(world, chosen, target, 11))
    signal.signal(signal.SIGINT, lambda *_: _end(world, chosen, target, 11))
    while True:
        signal.pause()


def dashboard(world: World, chosen: str, positional: list[str], flags: dict[str, str], out: Out) -> int:
    """``dashboard --url``: one line on standard output, and a proxy until the end."""
    if world.config(chosen) is None:
        not_found(chosen, out)
    if flags.get("url") != "true":
        print("\nX Exiting due to HOST_BROWSER: failed to open browser", file=sys.stderr)
        return 30
    print("* Verifying dashboard health ...\n* Launching proxy ...\n* Verifying proxy health ...", file=sys.stderr, flush=True)
    fault(world, "dashboard")
    server = ThreadingHTTPServer(("127.0.0.1", int(flags.get("port", "0"))), _Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}{PAGE}", flush=True)
    while True:
        signal.pause()


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"Kubernetes Dashboard")

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def _change(world: World, machine: str, mounts: dict[str, str]) -> None:
    state: dict[str, Any] = world.machine(machine) or {}
    world.save_machine(machine, {**state, "mounts": mounts})


def _end(world: World, machine: str, target: str, code: int) -> None:
    state = world.machine(machine)
    if state is not None:
        _change(world, machine, {place: source for place, source in state.get("mounts", {}).items() if place != target})
    os._exit(code)
