"""``image``: on all running machines together, and trouble on a machine is no trouble of the exit code."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Any

from fake.faults import fault
from fake.out import Out, klog
from fake.world import World, load, save

WORDS = {"load": "pushing", "pull": "pulling", "build": "building", "rm": "removing", "tag": "tagging"}


def image(world: World, chosen: str, positional: list[str], flags: dict[str, str], out: Out) -> int:
    """``image ls|load|save|rm|pull|tag|build``."""
    if world.config(chosen) is None:
        print(f'\nX Exiting due to MK_USAGE: loading profile: cluster "{chosen}" does not exist', file=sys.stderr)
        print("\n")
        return 14
    wrong = fault(world, "image")
    store = Store(world, chosen)
    action, rest = positional[0], positional[1:]
    if action == "ls":
        print(json.dumps(store.listed() if store.up else []))
    elif store.up and wrong != "lies":
        if wrong.startswith("fails on "):
            if flags.get("alsologtostderr") == "true":
                klog("cache_images.go:119", f"failed {WORDS[action]} to: {wrong.removeprefix('fails on ')}")
            return 0
        return int(getattr(store, action)(*rest, flags=flags) or 0)
    return 0


class Store:
    """The images of one profile, on disk."""

    def __init__(self, world: World, profile: str) -> None:
        self.world = world
        self.file = world.root / "images" / f"{profile}.json"
        self.there: dict[str, Any] = load(self.file) or {}
        self.up = (world.machine(profile) or {}).get("kubelet") == "Running"

    def listed(self) -> list[dict[str, Any]]:
        """As ``--format json`` has it: sizes are strings."""
        return [{"id": ident, "repoDigests": [], "repoTags": tags, "size": "1997546"} for ident, tags in self.there.items()]

    def give(self, ident: str, names: list[str]) -> None:
        """Give an image its names; whatever had them loses them."""
        left = {key: [tag for tag in tags if tag not in names] for key, tags in self.there.items()}
        left[ident] = [*left.get(ident, []), *names]
        self.there = left
        save(self.file, left)

    def named(self, name: str) -> str | None:
        """The id of the image called so."""
        return next((ident for ident, tags in self.there.items() if name in tags), None)

    def load(self, path: str, flags: dict[str, str]) -> None:
        """Docker's archives, by what ``manifest.json`` in them says."""
        with tarfile.open(path) as archive:
            entries = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]
            for entry in entries:
                try:
                    config = archive.extractfile(entry["Config"])
                    ident = hashlib.sha256(config.read() if config else b"").hexdigest()
                except KeyError:
                    ident = hashlib.sha256(path.encode()).hexdigest()
                self.give(f"sha256:{ident}", entry["RepoTags"])
                shutil.copy(path, self.file.with_name(f"{ident}.tar"))

    def save(self, name: str, target: str, flags: dict[str, str]) -> None:
        """One that is not there is no error: nothing is written."""
        kept = self.file.with_name(f"{str(self.named(name)).removeprefix('sha256:')}.tar")
        if kept.exists():
            shutil.copy(kept, target)

    def rm(self, name: str, flags: dict[str, str]) -> None:
        """The name goes, and the image with its last one."""
        left = {ident: [tag for tag in tags if tag != name] for ident, tags in self.there.items()}
        save(self.file, {ident: tags for ident, tags in left.items() if tags})

    def tag(self, source: str, target: str, flags: dict[str, str]) -> None:
        """Another name."""
        if (ident := self.named(source)) is not None:
            self.give(ident, [target])

    def pull(self, name: str, flags: dict[str, str]) -> None:
        """From the registry of the scenario; of what is not there only the log tells."""
        if name in self.world.scenario.get("registry", []):
            self.give(f"sha256:{hashlib.sha256(name.encode()).hexdigest()}", [name])
        elif flags.get("alsologtostderr") == "true":
            klog("cache_images.go:300", "failed pulling to: minikube")

    def build(self, context: str, flags: dict[str, str]) -> int:
        """A Dockerfile with a ``RUN false`` in it fails, with exit code 0."""
        file = Path(context) / flags.get("file", "Dockerfile")
        print(f"#1 [internal] load build definition from {file.name}")
        text = file.read_text() if file.exists() else ""
        if not text or re.search(r"^RUN false$", text, re.MULTILINE):
            print("ERROR: failed to solve", file=sys.stderr)
            if flags.get("alsologtostderr") == "true":
                klog("build_images.go:129", "failed building to: minikube")
            return 0
        arguments = flags.get("build-opt", "")
        name = flags["tag"] if "/" in flags["tag"] else f"docker.io/library/{flags['tag']}"
        name = name if ":" in name.rpartition("/")[2] else f"{name}:latest"
        self.give(f"sha256:{hashlib.sha256((text + arguments).encode()).hexdigest()}", [name])
        return 0
