"""Commands that only tell something: each in the real one's words, with the real one's exit codes."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from fake.faults import fault
from fake.out import Out, klog, not_found, panic
from fake.starting import names
from fake.world import World, load, save

SLOW = float(os.environ.get("FAKE_MINIKUBE_SLOW", "14"))
"""Seconds that ``status`` and ``logs`` take while the kubeconfig lacks the context."""
GONE = "NewSession: new client: new client: dial tcp: connect: no route to host"


def version(world: World, profile: str, positional: list[str], flags: dict[str, str], out: Out) -> int:
    """``version``."""
    wrong = fault(world, "version")
    said = world.scenario.get("version", "v1.38.1")
    if wrong == "nonsense":
        print("usage: something else")
    elif out.events:
        print(json.dumps({"commit": "eb25dbc703", "minikubeVersion": said}, separators=(",", ":")))
    else:
        print(said if flags.get("short") == "true" else f"minikube version: {said}")
    return 0


def status(world: World, profile: str, positional: list[str], flags: dict[str, str], out: Out) -> int:
    """``status``: an object, an array, ``null``, events or a panic."""
    config = world.config(profile)
    if config is None:
        not_found(profile, out)
    wrong = fault(world, "status")
    if wrong == "noise":
        klog("status.go:304", "The apiserver port from the kubeconfig and the cluster are not the same")
    states = [(name, world.machine(name), node) for name, node in zip(names(profile, config), config["Nodes"], strict=True)]
    if wrong == "null" or config.get("half") or any(state is None for _, state, _ in states):
        return _gone(world, states, flags)
    if wrong in ("empty", "garbage", "events"):
        if wrong == "events":
            out.event("info", message="something else is going on")
        print({"garbage": "Host: Running", "empty": "", "events": ""}[wrong], end="")
        return 1
    if profile not in world.read_contexts():
        time.sleep(SLOW)
    kubeconfig = world.kubeconfig_state(profile)
    said = [_machine(name, state or {}, node, kubeconfig) for name, state, node in states]
    if any(machine["Kubeconfig"] == "Misconfigured" for machine in said):
        klog("status.go:457", "kubeconfig endpoint: got: 10.55.0.10:9443, want: 10.55.0.10:8443")
    sys.stdout.write(json.dumps(said if len(said) > 1 else said[0], separators=(",", ":")))
    return mask(said)


def mask(said: list[dict[str, Any]]) -> int:
    """The exit code: bits for the host, for kubelet or API server, for the kubeconfig."""
    host = any(machine["Host"] != "Running" for machine in said)
    parts = any(machine[key] not in ("Running", "Irrelevant") for machine in said for key in ("Kubelet", "APIServer"))
    config = any(machine["Kubeconfig"] not in ("Configured", "Irrelevant") for machine in said)
    return 1 * host + 2 * parts + 4 * config


def _machine(name: str, state: dict[str, Any], node: dict[str, Any], kubeconfig: str) -> dict[str, Any]:
    host = state.get("host", "Running")
    words = [state.get("kubelet", "Running"), state.get("apiserver", "Running"), kubeconfig]
    if not node["ControlPlane"]:
        words[1:] = ["Irrelevant", "Irrelevant"]
    if host != "Running":
        words = [host] * 3
    return dict(
        zip(
            ("Name", "Host", "Kubelet", "APIServer", "Kubeconfig", "Worker"),
            (name, host, *words, not node["ControlPlane"]),
            strict=True,
        )
    )


def _gone(world: World, states: list[Any], flags: dict[str, str]) -> int:
    """A machine is gone: since 1.35 ``null`` or a panic, before it an object."""
    minor = int(str(world.scenario.get("version", "v1.38.1")).split(".")[1])
    if minor < 35:
        name, _, node = next(item for item in states if item[1] is None)
        word = "Nonexistent"
        said = dict(zip(("Name", "Host", "Kubelet", "APIServer", "Kubeconfig"), (name, word, word, word, word), strict=True))
        sys.stdout.write(json.dumps({**said, "Worker": not node["ControlPlane"]}))
        return 7
    klog("status.go:416", f"failed to get storage capacity of /var: {GONE}")
    klog("status.go:178", f"status error: {GONE}")
    if flags.get("layout") == "cluster":
        panic()
    sys.stdout.write("null")
    return 7


def profile(world: World, chosen: str, positional: list[str], flags: dict[str, str], out: Out) -> int:
    """``profile list``, and ``profile`` alone."""
    if positional[:1] != ["list"]:
        print("* minikube")
        return 0
    text = world.kubeconfig.read_text() if world.kubeconfig.exists() else ""
    if text.strip().startswith("[") and flags.get("light") != "true":
        sys.stdout.write('{"error":{}}')
        return 80
    valid, invalid = [], []
    for name in world.profiles():
        config = world.config(name)
        entry = {"Name": name, "Status": "Skipped" if flags.get("light") == "true" else "OK", "Config": config}
        (valid if config and config.get("Driver") else invalid).append({**entry, "Active": False, "ActiveKubeContext": False})
    sys.stdout.write(json.dumps({"invalid": invalid, "valid": valid}, separators=(",", ":")))
    return 0


def ip(world: World, chosen: str, positional: list[str], flags: dict[str, str], out: Out) -> int:
    """``ip``: what was saved, live or not."""
    config = world.config(chosen)
    if config is None:
        not_found(chosen, out)
    if (world.machine(chosen) or {}).get("host") != "Running":
        print(f"* The control-plane node {chosen} host is not running: state=Stopped")
        print(f'  To start a cluster, run: "minikube start{"" if chosen == "minikube" else f" -p {chosen}"}"')
        return 83
    print(config["Nodes"][0]["IP"])
    return 0


def ssh_key(world: World, chosen: str, positional: list[str], flags: dict[str, str], out: Out) -> int:
    """``ssh-key``."""
    print(world.home / "machines" / chosen / "id_rsa")
    return 0


def config(world: World, chosen: str, positional: list[str], flags: dict[str, str], out: Out) -> int:
    """``config defaults`` and ``config set profile``."""
    if positional[:2] == ["defaults", "kubernetes-version"]:
        if fault(world, "config") == "silent":
            return 14
        print(json.dumps(["v1.37.0-alpha.1", "v1.36.2", "v1.36.1", "v1.35.4", "v1.28.0"]))
        return 0
    if positional[:2] == ["set", "profile"]:
        file = world.home / "config" / "config.json"
        save(file, {**(load(file) or {}), "profile": positional[2]})
        return 0
    print("Error: specified key could not be found in config", file=sys.stderr)
    return 14


def docker_env(world: World, chosen: str, positional: list[str], flags: dict[str, str], out: Out) -> int:
    """``docker-env``: on failure it prints what evaluates to false."""
    found = world.config(chosen)
    wrong = fault(world, "docker-env")

    def fail(code: int, reason: str = "") -> int:
        if reason:
            print(f"\nX Exiting due to {reason}", file=sys.stderr)
        print(f"false exit code {code}")
        return code

    if found is None:
        return fail(85)
    if found["Driver"] == "none":
        return fail(51, "ENV_DRIVER_CONFLICT: 'none' driver does not support 'minikube docker-env' command")
    if len(found["Nodes"]) > 1:
        return fail(81, "ENV_MULTINODE_CONFLICT: The docker-env command is incompatible with multi-node clusters.")
    if found["KubernetesConfig"]["ContainerRuntime"] != "docker":
        return fail(14, "MK_USAGE: The docker-env command is only compatible with the docker runtime")
    if (world.machine(chosen) or {}).get("host") != "Running":
        return fail(83)
    if wrong == "fails":
        return fail(int(world.scenario.get("docker-env code", 80)))
    if flags.get("shell") != "none" or flags.get("output") != "json":
        print('export DOCKER_TLS_VERIFY="1"\nexport DOCKER_HOST="tcp://127.0.0.1:32842"')
        return 0
    values = {"DOCKER_TLS_VERIFY": "1", "DOCKER_HOST": "tcp://127.0.0.1:32842", "DOCKER_CERT_PATH": str(world.home / "certs")}
    print(json.dumps({**values, "MINIKUBE_ACTIVE_DOCKERD": chosen, "SSH_AUTH_SOCK": "", "SSH_AGENT_PID": ""}))
    return 0


def logs(world: World, chosen: str, positional: list[str], flags: dict[str, str], out: Out) -> int:
    """``logs``."""
    found = world.config(chosen)
    if found is None:
        not_found(chosen, out)
    if flags.get("node") not in names(chosen, found):
        print(
            f"\nX Exiting due to GUEST_NODE_RETRIEVE: retrieving node: Could not find node {flags.get('node')}", file=sys.stderr
        )
        return 85
    if chosen not in world.read_contexts():
        time.sleep(SLOW)
    print(
        "\n==> Audit <==\n|---------|------|\n| Command | Args |\n|---------|------|\n| start   | --x  |\n|---------|------|\n"
    )
    print("\n==> Last Start <==\nLog file created at: 2026/11/23 18:00:00\n")
    print(f"\n==> kubelet <==\nNov 23 18:00:00 {flags['node']} kubelet[1]: fine ({flags['length']} lines)\n")
    return 0
