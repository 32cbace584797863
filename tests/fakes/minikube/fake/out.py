"""What is printed: CloudEvents on standard output or text, klog lines on standard error, and the ways to end."""

from __future__ import annotations

import json
import sys
import uuid
from typing import NoReturn

TOTALS = {"start": 19, "stop": 2, "delete": 3, "pause": 1, "unpause": 1}
STEPS = [
    "Initial Minikube Setup",
    "Selecting Driver",
    "Downloading Artifacts",
    "Starting Node",
    "Updating Driver",
    "Pulling Base Image",
    "Running on Localhost",
    "Local OS Release",
    "Creating Container",
    "Creating VM",
    "Running Remotely",
    "Preparing Kubernetes",
    "Generating certificates",
    "Booting control plane",
    "Configuring RBAC rules",
    "Configuring CNI",
    "Configuring Localhost Environment",
    "Verifying Kubernetes",
    "Enabling Addons",
    "Done",
]
BOX = (
    "╭"
    + "─" * 91
    + "╮\n│"
    + " " * 91
    + "│\n│    If the above advice does not help, please let us know:"
    + " " * 34
    + "│\n╰"
    + "─" * 91
    + "╯"
)


class Out:
    """One command's voice.

    Args:
        command: its name.
        events: whether ``--output=json`` was given.
    """

    def __init__(self, command: str, events: bool) -> None:
        self.command = command
        self.events = events

    def event(self, kind: str, **data: str) -> None:
        """One CloudEvent; keys in the order of the real ones."""
        envelope = {
            "specversion": "1.0",
            "id": str(uuid.uuid4()),
            "source": "https://minikube.sigs.k8s.io/",
            "type": f"io.k8s.sigs.minikube.{kind}",
            "datacontenttype": "application/json",
            "data": dict(sorted(data.items())),
        }
        print(json.dumps(envelope, separators=(",", ":")), flush=True)

    def step(self, index: int | str, message: str, name: str = "") -> None:
        """A step of the command."""
        if not self.events:
            print(f"* {message}", flush=True)
            return
        name = name or (STEPS[index] if isinstance(index, int) and self.command == "start" else "")
        self.event("step", currentstep=str(index), message=message, name=name, totalsteps=str(TOTALS[self.command]))

    def info(self, message: str) -> None:
        """A remark."""
        if self.events:
            self.event("info", message=message)
        else:
            print(f"* {message}", flush=True)

    def warning(self, message: str) -> None:
        """A warning."""
        if self.events:
            self.event("warning", message=message)
        else:
            print(f"! {message}", file=sys.stderr)

    def error(self, message: str) -> None:
        """A line on standard error, which is an error event, fatal or not."""
        if self.events:
            self.event("error", message=message)
        else:
            print(f"* {message}", file=sys.stderr)

    def failure(self, code: int, name: str, message: str, advice: str = "", url: str = "", issues: str = "") -> None:
        """An error with an exit code, which --force may yet override."""
        if self.events:
            self.event("error", advice=advice, exitcode=str(code), issues=issues, message=message, name=name, url=url)
        else:
            print(f"\nX Exiting due to {name}: {message}", file=sys.stderr)
            if advice:
                print(f"* Suggestion: \n\n    {advice}\n", file=sys.stderr)

    def die(self, code: int, name: str, message: str, advice: str = "", *, box: bool = False) -> NoReturn:
        """The end, with minikube's reason."""
        self.failure(code, name, message, advice)
        if box:
            self.error(BOX)
        sys.exit(code)


def klog(place: str, message: str) -> None:
    """A line of klog's on standard error, which is printed whatever the output format is."""
    print(f"E1123 18:01:06.817631   28667 {place}] {message}", file=sys.stderr, flush=True)


def panic() -> NoReturn:
    """A Go panic: nothing on standard output, exit 2."""
    print("panic: runtime error: index out of range [0] with length 0\n\ngoroutine 1 [running]:", file=sys.stderr)
    print("k8s.io/minikube/pkg/minikube/cluster.GetState({0x0, 0x0, 0x2ff8e4ea000?})", file=sys.stderr)
    sys.exit(2)


def not_found(profile: str, out: Out) -> NoReturn:
    """Exit 85, with events (or text) on standard output instead of what was asked for."""
    own = "" if profile == "minikube" else f" -p {profile}"
    if out.events:
        out.event("info", message=f'Profile "{profile}" not found. Run "minikube profile list" to view all profiles.')
        out.event("info", message=f'To start a cluster, run: "minikube start{own}"')
    else:
        print(f'* Profile "{profile}" not found. Run "minikube profile list" to view all profiles.')
        print(f'  To start a cluster, run: "minikube start{own}"')
    sys.exit(85)
