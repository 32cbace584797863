"""Measures three machines of Vagrant's LXC provider: by localk8s, and by a plain Vagrantfile with shell provisioners.

Called by ``bench.py``; both run in turn, from the same box, which is built before.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

TOP = Path(__file__).resolve().parent.parent
LOCALK8S = Path(sys.executable).parent / "localk8s"
START = ("start", "--driver", "vagrant", "--driver-option", "provider=lxc", "--nodes", "3", "--memory", "1500m")
ANSWERED = ("demo", "--replicas", "1")


def localk8s(home: Path, *arguments: str) -> str:
    """Run localk8s with a home of its own; returns what it printed."""
    cache = os.environ.get("LOCALK8S_CACHE") or str(Path("~/.cache/localk8s").expanduser())
    own = {"LOCALK8S_HOME": str(home), "LOCALK8S_CACHE": cache, "LOCALK8S_OFFLINE": "1", "KUBECONFIG": str(home / "config")}
    done = subprocess.run([str(LOCALK8S), *arguments], env={**os.environ, **own}, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"localk8s {' '.join(arguments)}: {done.stderr}")
    return done.stdout


def ours(home: Path) -> Mapping[str, float]:
    """Seconds of one cluster: from the box, stopped, and started again, until the demo has answered."""
    begin = time.monotonic()
    localk8s(home, *START)
    ready = time.monotonic() - begin
    localk8s(home, *ANSWERED)
    answer = time.monotonic() - begin
    begin = time.monotonic()
    localk8s(home, "stop")
    stopped = time.monotonic() - begin
    localk8s(home, "start")
    localk8s(home, *ANSWERED)
    back = time.monotonic() - begin
    localk8s(home, "delete", "--yes")
    return {"ready": ready, "answer": answer, "stopped": stopped, "back": back}


def plain(box: str, version: str) -> Mapping[str, float]:
    """Seconds of one ``vagrant up`` of the plain Vagrantfile from the same box."""
    with tempfile.TemporaryDirectory() as directory:
        argv = ["unshare", "--net", "--mount", str(TOP / "bench/vagrant-plain/up"), box, directory, version]
        done = subprocess.run(argv, text=True, capture_output=True, check=False)
        if done.returncode != 0:
            told = "".join(path.read_text() for path in sorted(Path(directory).glob("*.log")))
            raise RuntimeError(f"the plain Vagrantfile: {done.stderr}\n{told}")
    return {words[0]: float(words[1]) for words in map(str.split, done.stdout.splitlines())}


def measure(rounds: int) -> str:
    """Both in turn, ``rounds`` times; the table as Markdown."""
    runs: dict[str, list[Mapping[str, float]]] = {"plain": [], "ours": []}
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        box = json.loads(localk8s(home, "box", "build", "--provider", "lxc", "-o", "json"))
        for turn in range(rounds):
            runs["plain"].append(plain(box["directory"], box["kubernetesVersion"]))
            runs["ours"].append(ours(home))
            last = {name: {key: round(value, 1) for key, value in found[-1].items()} for name, found in runs.items()}
            print(f"round {turn + 1} of {rounds}: {json.dumps(last)}", file=sys.stderr, flush=True)
    base, found = ({key: median(run[key] for run in each) for key in each[0]} for each in runs.values())
    lines = [
        f"Medians of {rounds} runs in turn on {os.cpu_count()} processors, Kubernetes {box['kubernetesVersion']}, three LXC",
        "machines from a box that is there; in brackets the ratio. Ready means for localk8s: API, every node, and a name",
        "resolved by the cluster DNS on each; for `bench/vagrant-plain`: every node Ready, without DNS.",
        "",
        "| | until ready | until a pod answered |",
        "| --- | --- | --- |",
        _row("a plain Vagrantfile with shell provisioners", base, base),
        _row("`localk8s start --driver vagrant --nodes 3`", found, base),
        "",
        f"`localk8s stop` takes {found['stopped']:.1f} s; with the `start` after it and until the demo answers again, "
        f"{found['back']:.1f} s.",
    ]
    return "\n".join(lines) + "\n"


def _row(name: str, values: Mapping[str, float], base: Mapping[str, float]) -> str:
    cells = [f"{values[key]:.1f} s ({values[key] / base[key]:.2f})" for key in ("ready", "answer")]
    return f"| {name} | {' | '.join(cells)} |"
