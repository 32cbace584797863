"""One run of the command line: what its general options and the environment come to.

Owns which reporter, which cluster, which format. Commands ask it; only ``app`` makes it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from localk8s.cli.narrators import EventNarrator, Narrator, PlainNarrator
from localk8s.cli.output import Format, choose_format
from localk8s.model.errors import ConfigError, NotSupportedError, UsageError
from localk8s.model.names import DEFAULT_CLUSTER, check_cluster_name
from localk8s.system.environment import FLAGS, Environment
from localk8s.system.owner import owner

if TYPE_CHECKING:
    from localk8s.cluster import Cluster, Clusters
    from localk8s.wiring import Installation


class Session:
    """What commands need to do their work.

    Args:
        environment: the variables of this process.
        rest: what stood behind ``--`` (``ssh``) or is another program's (``kubectl``); None when there was no ``--``.
    """

    def __init__(self, environment: Environment, rest: Sequence[str] | None = None) -> None:
        self.environment = environment
        self.rest = rest
        self.format = Format.TABLE
        self.verbose = False
        self.verb = ""
        """``start``, ``stop`` or ``delete`` while one of them runs; for what Ctrl-C says."""
        self.endless = False
        """Set by a command that only Ctrl-C ends, once it has begun its work."""
        self.name = DEFAULT_CLUSTER
        self.narrator = Narrator()

    def begin(
        self,
        *,
        cluster: str | None = None,
        output: str | None = None,
        quiet: bool = False,
        verbose: int = 0,
        formats: Sequence[Format] = tuple(Format),
        events: bool = False,
        verb: str = "",
    ) -> None:
        """Take in the general options of a command.

        Args:
            cluster: ``-c``.
            output: ``-o``.
            quiet: ``-q``.
            verbose: how many ``-v``.
            formats: what the command can give.
            events: JSON is one event a line.
            verb: see ``Session.verb``.

        Raises:
            UsageError, ConfigError, NotSupportedError: an option or variable is unusable.
        """
        self.format = choose_format(output, self.environment.text("LOCALK8S_OUTPUT"))
        if self.format not in formats:
            if output is not None:
                raise NotSupportedError(f"This command has no output format {output}: {', '.join(formats)}.")
            self.format = Format.TABLE
        for name in FLAGS:
            self.environment.flag(name)
        self.name = self._cluster_name(cluster)
        self.verbose = verbose > 0
        self.verb = verb
        self.narrator = self._choose_narrator(quiet=quiet, events=events and self.format is Format.JSON)

    def _cluster_name(self, option: str | None) -> str:
        if option is not None:
            return check_cluster_name(option)
        variable = self.environment.text("LOCALK8S_CLUSTER")
        try:
            return check_cluster_name(variable or DEFAULT_CLUSTER)
        except UsageError as exc:
            raise ConfigError(f"LOCALK8S_CLUSTER: {exc.message}", hint="unset LOCALK8S_CLUSTER") from exc

    def _choose_narrator(self, *, quiet: bool, events: bool) -> Narrator:
        if events:
            return EventNarrator()
        if quiet:
            return Narrator()
        if sys.stderr.isatty() and not self.environment.text("NO_COLOR") and self.environment.text("TERM") != "dumb":
            from localk8s.cli.live import LiveNarrator

            return LiveNarrator(verbose=self.verbose)
        return PlainNarrator(verbose=self.verbose)

    @cached_property
    def installation(self) -> Installation:
        """The localk8s of this user."""
        from localk8s.store.ownership import take_over_files
        from localk8s.wiring import Installation

        installation = Installation(self.environment, echo=self.narrator.command)
        user = owner()
        if user is not None and (count := take_over_files(installation.layout)):
            files = "1 file" if count == 1 else f"{count} files"
            self.narrator.warn(f"Changed the owner of {files} of localk8s from root to {user.name}.")
        return installation

    def hand_over_files(self) -> None:
        """Under sudo: what other programs made for the user is that user's."""
        if owner() is not None and "installation" in self.__dict__:
            from localk8s.store.ownership import take_over_files

            take_over_files(self.installation.layout)

    @property
    def cluster(self) -> Cluster:
        """The cluster that the command means, there or not."""
        from localk8s.cluster import Cluster

        return Cluster(self.name, installation=self.installation, report=self.narrator)

    @property
    def clusters(self) -> Clusters:
        """All clusters."""
        from localk8s.cluster import Clusters

        return Clusters(self.installation, report=self.narrator)

    def can_ask(self) -> bool:
        """Whether there is somebody to answer a question."""
        return sys.stdin is not None and sys.stdin.isatty() and not self.environment.flag("LOCALK8S_NO_INPUT")

    def confirm(self, question: str, *, refusal: str) -> bool:
        """Ask; no is the default.

        Args:
            question: without ``[y/N]``.
            refusal: the error's sentence where the question cannot be asked.

        Raises:
            UsageError: there is no terminal to ask on. Its hint is not the command with ``--yes``: pasted, it would confirm
                what has not been answered.
        """
        if not self.can_ask():
            raise UsageError(refusal, hint="add --yes, or run it in a terminal")
        sys.stderr.write(f"{question} [y/N] ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")
