"""``minikube image`` as an ``ImageTool``: everything is looked at afterwards, because minikube exits 0 whatever came of it.

Owns what the commands are told and how they are checked; a node that was left out is found by minikube's log, which alone
names it, and by a name that leads to two images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from localk8s.drivers.image_tool import ImageBuild, RuntimeImage
from localk8s.drivers.minikube import arguments
from localk8s.drivers.minikube.errors import find_failure, to_error
from localk8s.drivers.minikube.images import (
    insist_on_nodes,
    list_images,
    load_image,
    names_of,
    not_done,
    remove_image,
    spellings,
)
from localk8s.drivers.minikube.session import Session
from localk8s.drivers.minikube.status import Answer
from localk8s.model.errors import NotSupportedError, WrongStateError
from localk8s.model.node import Completed

_TRANSFER = 1800.0
"""Seconds that pulling, saving or building may take."""


class MinikubeImages:
    """The images of one cluster (an ``ImageTool``).

    Args:
        session: of the cluster.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def images(self) -> tuple[RuntimeImage, ...]:
        """See ``ImageTool.images``."""
        self._insist_running()
        return self._list()

    def load(self, archive: Path, names: Sequence[str]) -> None:
        """See ``ImageTool.load``."""
        self._insist_running()
        load_image(self._session.tool, self._session.profile, self._session.cluster, archive, names)

    def save(self, name: str, target: Path) -> None:
        """See ``ImageTool.save``."""
        self._insist_running()
        done = self._run(arguments.image_save(self._session.profile, name, target), f"save {name}")
        if not target.is_file() or target.stat().st_size == 0:
            raise not_done(done, f"save {name}")

    def remove(self, name: str) -> None:
        """See ``ImageTool.remove``."""
        self._insist_running()
        remove_image(self._session.tool, self._session.profile, self._session.cluster, name)

    def pull(self, name: str) -> None:
        """See ``ImageTool.pull``."""
        self._insist_running()
        self._make(arguments.image_pull(self._session.profile, name), name, f"pull {name}")

    def tag(self, source: str, target: str) -> None:
        """See ``ImageTool.tag``."""
        self._insist_running()
        done = self._make(arguments.image_tag(self._session.profile, source, target), target, f"tag {target}")
        if not any(self._named(image, source) and self._named(image, target) for image in self._list()):
            raise not_done(done, f"tag {target}")

    def build(self, wanted: ImageBuild, on_line: Callable[[str], None]) -> None:
        """See ``ImageTool.build``.

        Raises:
            NotSupportedError: the Dockerfile is not in the directory: minikube takes nothing else along.
        """
        self._insist_running()
        context, file = wanted.context.resolve(), ""
        if wanted.file:
            path = Path(wanted.file).resolve()
            if not path.is_relative_to(context):
                raise NotSupportedError(
                    f"minikube builds with a Dockerfile of the directory only, and {wanted.file} is not in it.",
                    hint=self._session.command("image build", "-t", wanted.name, "."),
                )
            file = path.relative_to(context).as_posix()
        argv = arguments.image_build(self._session.profile, context, wanted.name, file, wanted.arguments)
        self._make(argv, wanted.name, f"build {wanted.name}", on_line)

    def _make(self, argv: Sequence[str], name: str, what: str, on_line: Callable[[str], None] | None = None) -> Completed:
        """Run what shall give ``name`` to an image, and see that it did, on every node."""
        done = self._run(argv, what, on_line)
        insist_on_nodes(done, what)
        if not names_of(self._list()) & spellings(name):
            raise not_done(done, what)
        return done

    def _run(self, argv: Sequence[str], what: str, on_line: Callable[[str], None] | None = None) -> Completed:
        done = self._session.tool.run(argv, timeout=_TRANSFER, on_line=on_line)
        if done.returncode != 0:
            raise to_error(find_failure(done), done, doing=what, cluster=self._session.cluster)
        return done

    def _list(self) -> tuple[RuntimeImage, ...]:
        return list_images(self._session.tool, self._session.profile, self._session.cluster)

    @staticmethod
    def _named(image: RuntimeImage, name: str) -> bool:
        return bool(set(image.names) & spellings(name))

    def _insist_running(self) -> None:
        """On a stopped cluster minikube does nothing at all, and calls that success."""
        report = self._session.status()
        if report.answer is not Answer.NODES or any(machine.host != "Running" for machine in report.machines):
            raise WrongStateError(
                f'Cluster "{self._session.cluster}" does not run on all of its machines.',
                hint=self._session.command("start"),
            )
