"""Images of a cluster through minikube, verified: minikube itself exits 0 when loading or removing one has failed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from localk8s.drivers.image_tool import RuntimeImage
from localk8s.drivers.minikube import arguments
from localk8s.drivers.minikube.errors import find_failure, to_error
from localk8s.drivers.minikube.tool import QUESTION, Minikube
from localk8s.model.errors import CommandError, NotFoundError
from localk8s.model.node import Completed

_FAILED_ON = re.compile(r"failed (?:pushing|pulling|building|removing|tagging|untagging) (?:to|from|on|in): ?([^\n]*)")
"""How minikube's log names the nodes that an image did not reach."""
_LOAD = 900.0
"""Seconds loading may take."""


def parse_images(stdout: str) -> tuple[RuntimeImage, ...] | None:
    """The images in ``image ls --format=json``, by id; None when that is not what was printed."""
    try:
        items = [
            RuntimeImage(
                f"sha256:{str(item['id']).removeprefix('sha256:')}",
                tuple(item.get("repoTags") or ()),
                int(item.get("size") or 0),
            )
            for item in json.loads(stdout) or ()
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return tuple(sorted(items, key=lambda image: image.id))


def list_images(tool: Minikube, profile: str, cluster: str) -> tuple[RuntimeImage, ...]:
    """The images on the running nodes; none on a stopped cluster, which minikube does not call an error.

    Raises:
        Localk8sError: minikube cannot say.
    """
    done = tool.run(arguments.image_list(profile), timeout=QUESTION)
    images = parse_images(done.stdout) if done.returncode == 0 else None
    if images is None:
        raise to_error(find_failure(done), done, doing="list images", cluster=cluster)
    return images


def load_image(tool: Minikube, profile: str, cluster: str, archive: Path, references: Sequence[str]) -> None:
    """Load ``archive`` and make sure that it is there afterwards.

    Args:
        references: the names and tags that the archive holds.

    Raises:
        NotFoundError: there is no such file.
        CommandError: it was not loaded, whatever minikube's exit code said.
    """
    if not archive.is_file():
        raise NotFoundError(f"There is no image archive {archive}.")
    done = tool.run(arguments.image_load(profile, archive), timeout=_LOAD)
    if done.returncode != 0:
        raise to_error(find_failure(done), done, doing=f"load {archive.name}", cluster=cluster)
    insist_on_nodes(done, f"load {archive.name}")
    there = names_of(list_images(tool, profile, cluster))
    lacking = [reference for reference in references if not there & spellings(reference)]
    if lacking:
        raise not_done(done, f"load {', '.join(lacking)}")


def remove_image(tool: Minikube, profile: str, cluster: str, reference: str) -> None:
    """Remove an image and make sure that it is gone.

    Raises:
        CommandError: it is still there, whatever minikube's exit code said.
    """
    done = tool.run(arguments.image_remove(profile, reference), timeout=QUESTION)
    if done.returncode != 0:
        raise to_error(find_failure(done), done, doing=f"remove {reference}", cluster=cluster)
    insist_on_nodes(done, f"remove {reference}")
    if names_of(list_images(tool, profile, cluster)) & spellings(reference):
        raise not_done(done, f"remove {reference}")


def names_of(images: Iterable[RuntimeImage]) -> set[str]:
    """All names of ``images``."""
    return {name for image in images for name in image.names}


def insist_on_nodes(done: Completed, what: str) -> None:
    """Believe minikube's log rather than its exit code: it names the nodes on which something was not done.

    Raises:
        CommandError: there are some.
    """
    nodes = sorted({name for line in _FAILED_ON.findall(done.stderr) for name in line.replace(",", " ").split()})
    if nodes:
        raise not_done(done, f"{what} on {', '.join(nodes)}")


def spellings(reference: str) -> set[str]:
    """How a runtime may spell ``reference``: short names belong to Docker Hub, or to nobody; without a tag it is latest."""
    if ":" not in reference.rpartition("/")[2] and "@" not in reference:
        reference = f"{reference}:latest"
    first = reference.split("/")[0]
    if "/" in reference and ("." in first or ":" in first or first == "localhost"):
        return {reference}
    path = reference if "/" in reference else f"library/{reference}"
    return {reference, f"docker.io/{path}", f"docker.io/{reference}", f"localhost/{reference}"}


def not_done(done: Completed, what: str) -> CommandError:
    """The error of what minikube says it did, and did not."""
    return CommandError(
        done.argv,
        done.returncode,
        done.stdout,
        done.stderr,
        message=f"minikube did not {what}, although it says so (exit {done.returncode}).",
    )
