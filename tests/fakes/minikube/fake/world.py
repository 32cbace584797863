"""What is remembered between two runs of the fake: the scenario, the calls, the machines; and minikube's own home folder."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


class World:
    """One world of fake machines."""

    def __init__(self) -> None:
        self.root = Path(os.environ["FAKE_MINIKUBE_WORLD"])
        named = os.environ.get("MINIKUBE_HOME", "")
        home = Path(named) if named else Path(os.environ["HOME"]) / ".minikube"
        self.home = home if home.name == ".minikube" else home / ".minikube"
        self.kubeconfig = Path(os.environ.get("KUBECONFIG") or Path(os.environ["HOME"]) / ".kube" / "config")

    @property
    def scenario(self) -> dict[str, Any]:
        """What this world does otherwise."""
        return load(self.root / "scenario.json") or {}

    def record(self, argv: list[str]) -> None:
        """Add this call to the list of calls."""
        seen = {
            name: text for name, text in os.environ.items() if re.match(r"MINIKUBE_|KUBECONFIG$|LC_ALL$|DOCKER_|LANG$", name)
        }
        with (self.root / "calls.jsonl").open("a") as calls:
            calls.write(json.dumps({"argv": argv, "env": seen, "cwd": os.getcwd()}) + "\n")

    # minikube's own files

    def profile_dir(self, profile: str) -> Path:
        """The profile's folder."""
        return self.home / "profiles" / profile

    def profiles(self) -> list[str]:
        """Names of all profiles that have a folder."""
        folder = self.home / "profiles"
        return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []

    def config(self, profile: str) -> dict[str, Any] | None:
        """The profile's configuration."""
        return load(self.profile_dir(profile) / "config.json")

    def save_config(self, profile: str, config: dict[str, Any]) -> None:
        """Write the profile's configuration."""
        save(self.profile_dir(profile) / "config.json", config)

    def machine_names(self, profile: str) -> list[str]:
        """The machines of a profile."""
        config = self.config(profile) or {}
        nodes = config.get("Nodes", [])
        return [profile if not node["Name"] or len(nodes) == 1 else f"{profile}-{node['Name']}" for node in nodes]

    def audit(self, command: str, profile: str, user: str) -> None:
        """The line in audit.json that tells who asked."""
        logs = self.home / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        with (logs / "audit.json").open("a") as file:
            file.write(json.dumps({"data": {"command": command, "profile": profile, "user": user or "root"}}) + "\n")

    # machines

    def machine(self, name: str) -> dict[str, Any] | None:
        """The state of a machine: host, kubelet, apiserver, port."""
        return load(self.root / "machines" / f"{name}.json")

    def save_machine(self, name: str, state: dict[str, Any]) -> None:
        """Write the state of a machine."""
        save(self.root / "machines" / f"{name}.json", state)

    def remove_machine(self, name: str) -> None:
        """Take a machine away, its disk too."""
        (self.root / "machines" / f"{name}.json").unlink(missing_ok=True)
        shutil.rmtree(self.root / "machines" / name, ignore_errors=True)

    def make_machine(self, name: str, *, user: str, port: int = 22, address: str = "127.0.0.1") -> None:
        """A machine with a key, as libmachine records it."""
        folder = self.home / "machines" / name
        folder.mkdir(parents=True, exist_ok=True)
        key = folder / "id_rsa"
        key.write_text(f"key of {name}\n")
        key.chmod(0o600)
        driver = {"IPAddress": address, "MachineName": name, "SSHUser": user, "SSHPort": port, "SSHKeyPath": str(key)}
        save(folder / "config.json", {"ConfigVersion": 3, "Driver": driver, "Name": name})
        for part in ("tmp", "root", "opt", "srv", "home"):
            (self.root / "machines" / name / part).mkdir(parents=True, exist_ok=True)

    # the cluster's own servers

    def start_servers(self, profile: str) -> int:
        """Start the API server and DNS of a profile; returns the API server's port, the same as before."""
        self.stop_servers(profile)
        self.certificate()
        file = self.root / "servers" / f"{profile}.json"
        known = load(file) or {"api": free_port(), "dns": free_port()}
        save(file, known)
        process = subprocess.Popen(
            [sys.executable, str(HERE / "server.py"), str(self.root), str(self.home), profile],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )
        save(file, {**known, "pid": process.pid})
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", known["api"]), timeout=1):
                return int(known["api"])
            time.sleep(0.01)
        raise SystemExit("the fake API server did not come up")

    def stop_servers(self, profile: str) -> None:
        """End them."""
        state = load(self.root / "servers" / f"{profile}.json") or {}
        if pid := state.get("pid"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    def certificate(self) -> Path:
        """The one certificate of this world, for servers and clients alike; its key is in the same folder."""
        folder = self.root / "pki"
        if not (folder / "ca.crt").exists():
            folder.mkdir(exist_ok=True)
            line = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=minikubeCA"
            files = [
                "-keyout",
                str(folder / "ca.key"),
                "-out",
                str(folder / "ca.crt"),
                "-addext",
                "subjectAltName=IP:127.0.0.1",
            ]
            subprocess.run(["openssl", *line.split(), *files], check=True, capture_output=True)
        return folder / "ca.crt"

    def api_port(self, profile: str) -> int:
        """Where the API server is, or was."""
        return int((load(self.root / "servers" / f"{profile}.json") or {}).get("api", 8443))

    def kubeconfig_state(self, profile: str) -> str:
        """``Configured``, or what minikube says instead."""
        try:
            text = self.kubeconfig.read_text()
        except OSError:
            return "Misconfigured"
        if text.strip().startswith("["):
            return "Misconfigured"
        return "Configured" if f"https://127.0.0.1:{self.api_port(profile)}" in text else "Misconfigured"

    def write_kubeconfig(self, profile: str, *, embed: bool) -> None:
        """The context of one profile; others in the file are kept."""
        entries = self.read_contexts()
        certificates = self.profile_dir(profile)
        certificates.mkdir(parents=True, exist_ok=True)
        authority = self.certificate()
        for name, source in (("ca.crt", authority), ("client.crt", authority), ("client.key", authority.with_suffix(".key"))):
            (certificates / name).write_bytes(source.read_bytes())
        entries[profile] = {
            "server": f"https://127.0.0.1:{self.api_port(profile)}",
            "embed": embed,
            "folder": str(certificates),
        }
        self.write_contexts(entries, profile)

    def read_contexts(self) -> dict[str, Any]:
        """The contexts that this fake wrote."""
        try:
            text = self.kubeconfig.read_text()
        except OSError:
            return {}
        match = re.search(r"^# fake: (.*)$", text, re.MULTILINE)
        return dict(json.loads(match[1])) if match else {}

    def write_contexts(self, entries: dict[str, Any], current: str) -> None:
        """Write the whole kubeconfig."""
        lines = ["apiVersion: v1", "kind: Config", f'current-context: "{current}"', f"# fake: {json.dumps(entries)}"]
        for section in ("clusters", "users", "contexts"):
            lines.append(f"{section}:{' []' if not entries else ''}")
            for name, entry in entries.items():
                lines += [f"- name: {name}", *_entry(section, name, entry)]
        self.kubeconfig.parent.mkdir(parents=True, exist_ok=True)
        self.kubeconfig.write_text("\n".join(lines) + "\n")
        self.kubeconfig.chmod(0o600)


def _entry(section: str, name: str, entry: dict[str, Any]) -> list[str]:
    def file(key: str, named: str) -> str:
        path = Path(entry["folder"]) / named
        return f"    {key}-data: {base64.b64encode(path.read_bytes()).decode()}" if entry["embed"] else f"    {key}: {path}"

    if section == "clusters":
        return ["  cluster:", file("certificate-authority", "ca.crt"), f"    server: {entry['server']}"]
    if section == "contexts":
        return ["  context:", f"    cluster: {name}", "    namespace: default", f"    user: {name}"]
    return ["  user:", file("client-certificate", "client.crt"), file("client-key", "client.key")]


def free_port() -> int:
    """A port on loopback that nobody has; below those that the kernel gives to outgoing connections."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


def load(path: Path) -> dict[str, Any] | None:
    """The JSON in ``path``; None when it is not there."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return dict(content)


def save(path: Path, content: dict[str, Any]) -> None:
    """Write JSON, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps(content))
    part.replace(path)
