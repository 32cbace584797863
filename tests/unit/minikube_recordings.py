"""What a real minikube printed, for the tests of the modules that have to understand it."""

from __future__ import annotations

import json
from pathlib import Path

from localk8s.model.node import Completed

ROOT = Path(__file__).parent.parent / "recordings" / "minikube"


def names() -> list[str]:
    """All recordings, ``folder/name``."""
    return sorted(str(path.relative_to(ROOT)).removesuffix(".json") for path in ROOT.rglob("*.json"))


def recording(name: str) -> Completed:
    """One recording as a command that has ended."""
    content = json.loads((ROOT / f"{name}.json").read_text(encoding="utf-8"))
    return Completed(tuple(content["argv"]), content["exit"], content["stdout"], content["stderr"])
