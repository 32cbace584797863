"""Before a start without a network: what a directory or bundle holds goes to where minikube will look for it.

Its cache for programs and images; this host's own runtime where the node is this host, because minikube loads no
cached image there.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from localk8s.artifacts.base import Artifacts
from localk8s.artifacts.catalog import image_reference
from localk8s.artifacts.kinds import Image, ImageRole, KubernetesBinaries
from localk8s.drivers.minikube import cache
from localk8s.drivers.minikube.images import list_images, load_image, names_of
from localk8s.drivers.minikube.options import Options
from localk8s.drivers.minikube.session import Session
from localk8s.drivers.minikube.vm_drivers import Kind, VmDriver
from localk8s.model.errors import CommandError, Localk8sError, PrerequisiteError
from localk8s.model.progress import Reporter, Step
from localk8s.model.spec import ClusterSpec

_ROLES = (
    ImageRole.KUBE_APISERVER,
    ImageRole.KUBE_CONTROLLER_MANAGER,
    ImageRole.KUBE_SCHEDULER,
    ImageRole.KUBE_PROXY,
    ImageRole.ETCD,
    ImageRole.PAUSE,
)
_IMPORT = 300.0
"""Seconds one image may take to import."""


def fill(
    session: Session,
    spec: ClusterSpec,
    options: Options,
    driver: VmDriver,
    artifacts: Artifacts,
    report: Reporter,
    architecture: str,
) -> None:
    """Fill minikube's cache from what the user named; does nothing when nothing was named.

    Raises:
        ArtifactError: what was named does not hold what is asked for.
        OSError: the cache cannot be written.
    """
    if spec.artifacts is None or spec.kubernetes_version is None:
        return
    with report.step("cache", "filling minikube's cache") as step:
        binaries = artifacts.kubernetes(spec.kubernetes_version, spec.artifacts, step)
        added = cache.fill_programs(session.home, binaries.directory, binaries.version, architecture)
        added += sum(cache.fill_from_cache(session.home, root) for root in _roots(spec.artifacts, binaries))
        step.progress(1, 2, "images")
        images = _images(artifacts, binaries, step)
        if driver.kind is Kind.NONE:
            added += _import_here(session, options.runtime, images, report)
        else:
            added += cache.fill_images(session.home, images, architecture)
        step.finish_as(f"filled minikube's cache: {added} files" if added else "minikube's cache has it all")


def give_echo(
    session: Session,
    spec: ClusterSpec,
    options: Options,
    driver: VmDriver,
    artifacts: Artifacts,
    report: Reporter,
    architecture: str,
) -> None:
    """Put the demo's image on the nodes, so that the demo needs no network. A cluster without it is ready all the same."""
    version, runtime, here = spec.kubernetes_version, options.runtime, driver.kind is Kind.NONE
    if version is None:
        return
    with report.step("echo", "giving the demo's image to the nodes") as step:
        reference = image_reference(ImageRole.ECHO, version)
        try:
            there = names_of(list_images(session.tool, session.profile, session.cluster))
            if reference not in there:
                programs = cache.program_directory(session.home, version, architecture)
                binaries = KubernetesBinaries(version, programs, "minikube's cache")
                image = artifacts.images(binaries, (ImageRole.ECHO,), step)[0]
                _load(session, image, runtime, here=here)
        except (Localk8sError, OSError) as exc:
            step.finish_as(f"no image for localk8s demo: {_first_line(exc)}")
        else:
            step.finish_as("the nodes have the demo's image")


def _load(session: Session, image: Image, runtime: str, *, here: bool) -> None:
    """By minikube; straight into this host's containerd where that is the node's and minikube did not do it."""
    try:
        load_image(session.tool, session.profile, session.cluster, image.archive, (image.reference,))
    except Localk8sError:
        if not here or runtime != "containerd":
            raise
        session.runner.run(["ctr", "--namespace", "k8s.io", "images", "import", str(image.archive)], timeout=_IMPORT)


def _roots(named: str, binaries: KubernetesBinaries) -> Sequence[Path]:
    """Where a copy of a minikube cache may be: in the directory itself, or where a bundle was unpacked."""
    unpacked = binaries.images.parent if binaries.images is not None else None
    return [root for root in dict.fromkeys((Path(named), unpacked)) if root is not None and root.is_dir()]


def _images(artifacts: Artifacts, binaries: KubernetesBinaries, step: Step) -> list[tuple[str, Path]]:
    """Every archive: those made from the programs, and all that came along (DNS, addons)."""
    from localk8s.artifacts.archive import read_tags

    made: Sequence[Image] = artifacts.images(binaries, _ROLES, step)
    found = {image.reference: image.archive for image in made}
    for archive in sorted(binaries.images.glob("*.tar")) if binaries.images is not None else ():
        for reference in read_tags(archive):
            found.setdefault(reference, archive)
    return list(found.items())


def _import_here(session: Session, runtime: str, images: Sequence[tuple[str, Path]], report: Reporter) -> int:
    """Give the images to this host's runtime; returns how many. A runtime that is not up yet gets none."""
    if runtime == "docker":
        load = ["docker", "load", "--input"]
    elif shutil.which("ctr"):
        load = ["ctr", "--namespace", "k8s.io", "images", "import"]
    else:
        report.warn(f"Images cannot be given to {runtime} on this host: ctr is not installed.")
        return 0
    loaded = 0
    for reference, archive in images:
        try:
            session.runner.run([*load, str(archive)], timeout=_IMPORT)
        except (CommandError, PrerequisiteError) as exc:
            report.warn(f"{reference} could not be given to this host's {runtime}: {_first_line(exc)}")
            return loaded
        loaded += 1
    return loaded


def _first_line(exc: Exception) -> str:
    return str(exc).partition("\n")[0]
