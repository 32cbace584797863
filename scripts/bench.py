"""Measures localk8s beside the least that has to happen for a cluster on the same programs, and writes README's table.

Side by side in one run, in turn, medians: machines are noisy, so only ratios of one run mean something. Run by
``make bench``, as root in a network namespace without an uplink; everything it needs is in the cache by then.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import bench_helpers
import bench_vagrant

from localk8s.artifacts.kinds import ImageRole
from localk8s.system.process import HostRunner
from localk8s.wiring import Installation

TOP = Path(__file__).resolve().parent.parent
LOCALK8S = Path(sys.executable).parent / "localk8s"


class Quiet:
    """A step that nobody watches."""

    def progress(self, done: float, total: float | None, detail: str = "") -> None:
        """Say nothing."""

    def finish_as(self, title: str) -> None:
        """Say nothing."""


def localk8s(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run localk8s with a home of its own."""
    cache = os.environ.get("LOCALK8S_CACHE") or str(Path("~/.cache/localk8s").expanduser())
    own = {"LOCALK8S_HOME": str(home), "LOCALK8S_CACHE": cache, "LOCALK8S_OFFLINE": "1", "KUBECONFIG": str(home / "config")}
    return subprocess.run([str(LOCALK8S), *arguments], env={**os.environ, **own}, text=True, capture_output=True, check=True)


def ours(home: Path, nodes: int) -> dict[str, float]:
    """Seconds of one ``start``, by step, until it is ready and until the demo has answered."""
    begin = time.monotonic()
    started = localk8s(home, "start", "--nodes", str(nodes), "-o", "json")
    ready = time.monotonic() - begin
    localk8s(home, "demo", "--replicas", "1")
    answered = time.monotonic() - begin
    events = [json.loads(line) for line in started.stdout.splitlines()]
    steps = {event["step"]: float(event["seconds"]) for event in events if event.get("type") == "stepFinished"}
    found = {"ready": ready, "answer": answered, **{f"step {key}": seconds for key, seconds in steps.items()}}
    if nodes == 1:
        for name, arguments in (("ip", ["ip"]), ("status", ["status", "-o", "json"])):
            found[name] = median(timed(lambda words=arguments: localk8s(home, *words)) for _ in range(10))
    localk8s(home, "delete", "--yes")
    return found


_IN_ROOT = 'mount --bind "$0/usr" /usr && mount --bind "$0/etc/ld.so.cache" /etc/ld.so.cache && exec bash "$@"'
"""The nodes' programs are linked with their own C library."""


def bare(programs: Path, root: Path, images: Mapping[ImageRole, tuple[str, Path]]) -> dict[str, float]:
    """Seconds of one run of the bare script on the same programs and images."""
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "pause.tar").symlink_to(images[ImageRole.PAUSE][1])
        (Path(directory) / "echoserver.tar").symlink_to(images[ImageRole.ECHO][1])
        own = {"PAUSE": images[ImageRole.PAUSE][0], "ECHO": images[ImageRole.ECHO][0]}
        script = [str(TOP / "bench/bare-cluster.sh"), str(programs), directory]
        done = subprocess.run(
            ["unshare", "--net", "--mount", "sh", "-c", _IN_ROOT, str(root), *script],
            env={**os.environ, **own}, text=True, capture_output=True, check=True,
        )  # fmt: skip
    found = dict(re.findall(r"^(api ready|node ready|pod answers)\s+([\d.]+)$", done.stdout, re.MULTILINE))
    return {"ready": float(found["node ready"]), "answer": float(found["pod answers"])}


def timed(call: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    begin = time.monotonic()
    call()
    return time.monotonic() - begin


def row(name: str, values: Mapping[str, float], base: Mapping[str, float]) -> str:
    """One row of the table."""
    cells = [f"{values[key]:.1f} s ({values[key] / base[key]:.2f})" for key in ("ready", "answer")]
    return f"| {name} | {' | '.join(cells)} |"


def medians(runs: list[dict[str, float]]) -> dict[str, float]:
    """The median of every figure."""
    return {key: median(run[key] for run in runs) for key in runs[0]}


def report(rounds: int, version: str, found: Mapping[str, dict[str, float]]) -> str:
    """The table and what belongs to it, as Markdown."""
    script, one, three = found["bare"], found["one"], found["three"]
    steps = " · ".join(f"{key.removeprefix('step ')} {one[key]:.1f}" for key in one if key.startswith("step "))
    more = " · ".join(f"{key.removeprefix('step ')} {three[key]:.1f}" for key in three if key.startswith("step "))
    lines = [
        f"Medians of {rounds} runs in turn on {os.cpu_count()} processors, Kubernetes {version}, everything cached; in",
        "brackets the ratio to the bare script. Ready means for localk8s: API, every node, and a name resolved by the",
        "cluster DNS; for the script (`bench/bare-cluster.sh`): the node alone, without DNS, and an etcd that never syncs.",
        "",
        "| | until ready | until a pod answered |",
        "| --- | --- | --- |",
        row("the bare script, 1 node", script, script),
        row("`localk8s start`, 1 node", one, script),
        row("`localk8s start --nodes 3`", three, script),
        "",
        f"Three nodes take {three['ready'] / one['ready']:.2f} times as long as one until ready, "
        f"{three['answer'] / one['answer']:.2f} times until a pod answered.",
        "",
        f"Where the seconds go, one node: {steps}.",
        f"Three nodes: {more}.",
        "",
        f"On a running cluster: `localk8s ip` {one['ip'] * 1000:.0f} ms, "
        f"`localk8s status -o json` {one['status'] * 1000:.0f} ms.",
    ]
    return "\n".join(lines) + "\n"


def measure_start(rounds: int) -> str:
    """Starts beside the bare script's, as Markdown."""
    artifacts = Installation().artifacts(HostRunner())
    version = artifacts.newest_version(None)
    binaries = artifacts.kubernetes(version, None, Quiet())
    root = artifacts.node_root(Quiet()).directory
    made = artifacts.images(binaries, (ImageRole.PAUSE, ImageRole.ECHO), Quiet())
    images = {image.role: (image.reference, image.archive) for image in made}
    runs: dict[str, list[dict[str, float]]] = {"bare": [], "one": [], "three": []}
    with tempfile.TemporaryDirectory() as home:
        for turn in range(rounds):
            runs["bare"].append(bare(binaries.directory, root, images))
            runs["one"].append(ours(Path(home), 1))
            runs["three"].append(ours(Path(home), 3))
            last = {name: {key: round(value, 1) for key, value in found[-1].items()} for name, found in runs.items()}
            print(f"round {turn + 1} of {rounds}: {json.dumps(last)}", file=sys.stderr, flush=True)
    return report(rounds, str(version), {name: medians(found) for name, found in runs.items()})


MEASURES: Mapping[str, Callable[[int], str]] = {
    "start": measure_start,
    "helpers": bench_helpers.measure,
    "vagrant": bench_vagrant.measure,
}
"""What can be measured, and under which mark README shows it."""


def show_in_readme(mark: str, text: str) -> None:
    """Replace what stands between the comments ``benchmark: MARK`` and ``/benchmark: MARK``."""
    readme = TOP / "README.md"
    marked = re.compile(rf"(<!-- benchmark: {mark} -->\n).*?(<!-- /benchmark: {mark} -->)", re.DOTALL)
    readme.write_text(marked.sub(lambda match: match[1] + text + match[2], readme.read_text()))


def main() -> None:
    """Measure, print, and write README."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each")
    parser.add_argument("--only", choices=MEASURES, help="one part")
    parser.add_argument("--no-readme", action="store_true", help="print only")
    options = parser.parse_args()
    for mark, measure in MEASURES.items():
        if options.only in (None, mark):
            text = measure(options.rounds)
            print(text)
            if not options.no_readme:
                show_in_readme(mark, text)


if __name__ == "__main__":
    main()
