"""Shows what a minikube command does while it runs: its events become steps of the recipe.

Must not decide anything about success: the exit code does, elsewhere.
"""

from __future__ import annotations

import contextlib
import threading
from types import TracebackType

from localk8s.drivers.minikube.events import Action, Advanced, Event, Follower, StepBegun, Warned, parse_event
from localk8s.model.progress import Reporter, Step

_STEPS = {
    "Initial Minikube Setup": ("minikube-setup", "setting up minikube"),
    "Selecting Driver": ("minikube-driver", "selecting minikube's driver"),
    "Downloading Artifacts": ("minikube-download", "downloading what minikube needs"),
    "Starting Node": ("minikube-node", "starting the node"),
    "Updating Driver": ("minikube-update", "updating the machine"),
    "Pulling Base Image": ("minikube-base-image", "pulling the node's image"),
    "Running on Localhost": ("minikube-localhost", "using this host as the node"),
    "Local OS Release": ("minikube-release", "looking at the node's system"),
    "Creating Container": ("minikube-container", "creating the node's container"),
    "Creating VM": ("minikube-vm", "creating the virtual machine"),
    "Running Remotely": ("minikube-remote", "using the remote machine as the node"),
    "Preparing Kubernetes": ("minikube-prepare", "preparing Kubernetes"),
    "Generating certificates": ("minikube-certificates", "making certificates"),
    "Booting control plane": ("minikube-control-plane", "starting the control plane"),
    "Configuring RBAC rules": ("minikube-rbac", "setting access rules"),
    "Configuring CNI": ("minikube-network", "setting up the pods' network"),
    "Configuring Localhost Environment": ("minikube-environment", "configuring this host"),
    "Verifying Kubernetes": ("minikube-verify", "verifying Kubernetes"),
    "Enabling Addons": ("minikube-addons", "enabling addons"),
    "Stopping": ("minikube-stop", "stopping the machines"),
    "PowerOff": ("minikube-power-off", "switching the machines off"),
    "Deleting": ("minikube-delete", "deleting the machines"),
    "Pausing": ("minikube-pause", "pausing"),
    "Unpausing": ("minikube-unpause", "resuming"),
}
_QUIET = ("Done", "Puring home dir")
"""Steps that are over as soon as they begin."""


def step_title(name: str) -> tuple[str, str]:
    """Key and title of minikube's step ``name``; a step that is new to localk8s bears its own name."""
    slug = "-".join("".join(character if character.isalnum() else " " for character in name.lower()).split())
    return _STEPS.get(name, (f"minikube-{slug}", name[:1].lower() + name[1:]))


class EventReporter:
    """Feeds lines of a running command to a reporter. A context manager: leaving it ends the step that was running.

    Lines may come from several threads.

    Args:
        report: who watches.
    """

    def __init__(self, report: Reporter) -> None:
        self._report = report
        self._lock = threading.Lock()
        self._running = contextlib.ExitStack()
        self._step: Step | None = None
        self._over = False
        self.follower = Follower()
        self.last_event: Event | None = None

    def __enter__(self) -> EventReporter:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        with self._lock:
            self._over = True
            self._running.__exit__(kind, value, trace)

    def line(self, text: str) -> None:
        """One line that the command printed, on either stream."""
        event = parse_event(text)
        if event is None:
            return
        with self._lock:
            if self._over:
                return
            self.last_event = event
            for action in self.follower.feed(event):
                self._show(action)

    def succeeded(self) -> None:
        """The command ended well: what still waited to be a warning is one."""
        with self._lock:
            for warned in self.follower.flush():
                self._show(warned)

    def _show(self, action: Action) -> None:
        if isinstance(action, Warned):
            self._report.warn(f"minikube: {action.message}")
        elif isinstance(action, StepBegun):
            self._running.close()
            self._step = None
            if action.name not in _QUIET:
                self._step = self._running.enter_context(self._report.step(*step_title(action.name)))
        elif isinstance(action, Advanced) and self._step is not None:
            self._step.progress(action.done, action.total, action.detail)
