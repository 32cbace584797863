"""One cluster in the hands of one command: its claim, its profile, its minikube, and how a minikube command is followed.

Owns no recipe (``lifecycle`` does); everything that several recipes need is here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from localk8s.drivers.minikube import arguments
from localk8s.drivers.minikube.api import ask_api, live_address
from localk8s.drivers.minikube.claim import Claims, Ownership
from localk8s.drivers.minikube.errors import find_failure, mask_tokens, to_error
from localk8s.drivers.minikube.machines import make_nodes
from localk8s.drivers.minikube.profile import Home, ProfileConfig, load_profile, other_machines, parse_profile_list
from localk8s.drivers.minikube.progress import EventReporter, step_title
from localk8s.drivers.minikube.status import StatusReport, parse_status
from localk8s.drivers.minikube.tool import QUESTION, Minikube
from localk8s.drivers.minikube.vm_drivers import NONE_PROFILE
from localk8s.model import hints
from localk8s.model.errors import CommandError, UsageError, WaitTimeoutError, WrongStateError
from localk8s.model.node import Completed, Node
from localk8s.model.progress import Reporter
from localk8s.system.process import HostRunner


@dataclass(frozen=True, slots=True)
class Session:
    """What a command on one cluster works with."""

    cluster: str
    profile: str
    vm: str
    """minikube's driver; empty when nobody knows it any more."""
    home: Home
    claims: Claims
    tool: Minikube
    runner: HostRunner

    def command(self, verb: str, *arguments: str) -> str:
        """A command about this cluster, for a hint."""
        return hints.command(verb, *arguments, cluster=self.cluster)

    @property
    def kubeconfig(self) -> Path:
        """The private kubeconfig."""
        return self.claims.kubeconfig(self.cluster)

    @property
    def ownership(self) -> Ownership:
        """Whose the profile is."""
        return self.claims.ownership(self.cluster, self.home, self.profile)

    def config(self) -> ProfileConfig | None:
        """The cluster's profile as recorded; None when it is not there, or is another's of the same name."""
        ours = self.ownership in (Ownership.OURS, Ownership.ORPHANED)
        return load_profile(self.home, self.profile) if ours else None

    def existing(self) -> ProfileConfig:
        """The profile as recorded.

        Raises:
            WrongStateError: it is not there, or another's.
        """
        refuse_replaced(self)
        found = self.config()
        if found is None:
            raise WrongStateError(
                f'minikube has no profile {self.profile} for cluster "{self.cluster}".',
                hint=self.command("start"),
            )
        return found

    def nodes(self, profile: ProfileConfig) -> tuple[Node, ...]:
        """The machines of the profile."""
        return make_nodes(
            self.runner, self.home, self.cluster, profile, self.claims.known_hosts(self.cluster), LiveAddresses(self)
        )

    def status(self, *, timeout: float = QUESTION, quick: bool = False) -> StatusReport:
        """What minikube says about its machines.

        Raises:
            CommandError: it did not answer in time.
        """
        done = self.tool.run(arguments.status(self.profile), timeout=timeout, quick=quick)
        return parse_status(done.stdout, done.stderr, done.returncode, None if quick else self.tool.version)

    def listed(self) -> bool:
        """Whether minikube itself still lists the profile; False where it cannot say."""
        done = self.tool.run(arguments.profile_list(), timeout=QUESTION)
        return any(profile.name == self.profile for profile in parse_profile_list(done.stdout) or ())

    def follow(self, argv: Sequence[str], report: Reporter, *, doing: str, timeout: float, setting: str) -> None:
        """Run a command that emits events, as steps of the recipe.

        Args:
            argv: for minikube.
            report: shown the steps.
            doing: what it is to do, as it reads after "could not".
            timeout: seconds; beyond that the step that hangs is named.
            setting: the option that sets ``timeout``.

        Raises:
            WaitTimeoutError: it did not end in time.
            Localk8sError: it failed; see ``errors``.
        """
        with EventReporter(report) as watching:
            try:
                done = self.tool.run(argv, timeout=timeout, on_line=watching.line)
            except CommandError as exc:
                if exc.returncode is not None or "did not end" not in exc.message:
                    raise
                raise self._hangs(watching, exc, doing, timeout, setting) from exc
            if done.returncode != 0:
                failure = find_failure(done, watching.follower.failure, watching.follower.step)
                raise to_error(failure, done, doing=doing, cluster=self.cluster, vm=self.vm)
            watching.succeeded()

    def plain(self, argv: Sequence[str], *, doing: str, timeout: float) -> Completed:
        """Run a command that prints no events.

        Raises:
            CommandError: it did not end in time.
            Localk8sError: it failed; see ``errors``.
        """
        done = self.tool.run(argv, timeout=timeout)
        if done.returncode != 0:
            raise to_error(find_failure(done), done, doing=doing, cluster=self.cluster, vm=self.vm)
        return done

    def _hangs(self, watching: EventReporter, exc: CommandError, doing: str, timeout: float, setting: str) -> WaitTimeoutError:
        step = watching.follower.step
        what = step_title(step)[1] if step else "the beginning"
        said = watching.last_event.message if watching.last_event else ""
        last = f' (last word: "{" ".join(said.split())[:160]}")' if said else ""
        where = f'step "{step}", {what}' if step else what
        return WaitTimeoutError(
            f"minikube did not {doing} within {timeout:.0f} s: it hangs at {where}{last}.",
            hint=self.command("start", "--driver-option", f"{setting}=3600"),
            details=mask_tokens(exc.details),
        )


class LiveAddresses:
    """What addresses the nodes have now, as the API tells; asked once, when somebody wants to know.

    Args:
        session: of the cluster.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._found: dict[str, str] | None = None

    def __call__(self, name: str) -> str:
        """The address of the node called ``name`` in Kubernetes.

        Raises:
            WrongStateError: the API does not answer, or does not know the node.
        """
        if self._found is None:
            self._found = self._ask()
        if len(self._found) == 1:
            return next(iter(self._found.values()))
        if name not in self._found:
            raise WrongStateError(
                f"{name} has no address now: it has not joined the cluster.", hint=self._session.command("status")
            )
        return self._found[name]

    def _ask(self) -> dict[str, str]:
        view = ask_api(self._session.kubeconfig, self._session.profile, self._session.cluster, timeout=2.0)
        if view.nodes is None:
            raise WrongStateError(
                f'The address that minikube recorded for cluster "{self._session.cluster}" is not live: {view.reason}.',
                hint=self._session.command("start"),
            )
        return {node["metadata"]["name"]: live_address(node) for node in view.nodes}


def refuse_replaced(session: Session) -> None:
    """Refuse a profile that took the place of the cluster's own.

    Raises:
        WrongStateError: the cluster's profile was deleted, and one of the same name was made, by others than localk8s.
    """
    if session.ownership is Ownership.FOREIGN and session.claims.load(session.cluster) is not None:
        raise WrongStateError(replaced(session), hint=session.command("delete"))


def replaced(session: Session) -> str:
    """The sentence about a profile that took the place of the cluster's own."""
    return (
        f'minikube\'s profile {session.profile} is not the one that localk8s created for cluster "{session.cluster}": '
        "it was deleted and created again without localk8s, and is left alone."
    )


def refuse_foreign(session: Session) -> None:
    """Refuse to make a cluster of a profile that localk8s did not make, and names that minikube would confuse.

    Raises:
        WrongStateError: the profile is the user's own, or another cluster's.
        UsageError: a machine of another profile bears the name.
    """
    refuse_replaced(session)
    holder = session.claims.holder(session.profile, str(session.home.root))
    if holder not in (None, session.cluster):
        raise WrongStateError(
            f'minikube\'s {session.vm} driver takes one profile, called {session.profile}, and cluster "{holder}" has it.',
            hint=_with_docker(session),
        )
    if session.ownership is Ownership.FOREIGN:
        one = session.profile == NONE_PROFILE
        raise WrongStateError(
            f"minikube already has a profile {session.profile} that localk8s did not create; it is left alone.",
            hint=_with_docker(session) if one else _another(session),
        )
    if session.ownership is Ownership.ORPHANED:
        raise WrongStateError(
            f"minikube's profile {session.profile} was created by a localk8s whose files no longer exist.",
            hint=session.command("delete"),
        )
    taken = other_machines(session.home, session.profile)
    config = session.config()
    names = [session.profile, *(config.machine_names if config else ())]
    clash = next((name for name in names if name in taken), None)
    if clash is not None:
        raise UsageError(
            f"minikube already has a machine called {clash}, a node of profile {taken[clash]}.", hint=_another(session)
        )


def refuse_machine_names(session: Session, nodes: int) -> None:
    """Refuse nodes whose machines would be called as a machine of another profile.

    Raises:
        UsageError: one would be.
    """
    taken = other_machines(session.home, session.profile)
    for index in range(2, nodes + 1):
        name = f"{session.profile}-m{index:02d}"
        if name in taken:
            raise UsageError(
                f"Node {index} would be called {name}, as a machine of minikube's profile {taken[name]} is.",
                hint=_another(session),
            )


def _another(session: Session) -> str:
    return hints.command("start", "--driver", "minikube", cluster=f"{session.cluster}-cluster")


def _with_docker(session: Session) -> str:
    return session.command("start", "--driver", "minikube", "--vm-driver", "docker")
