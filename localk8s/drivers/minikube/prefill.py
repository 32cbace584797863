"""Before a start without a network: what a directory or bundle brings goes to where minikube will look for it.

Its cache for programs and images; this host's own runtime where the node is this host, because minikube loads no
cached image there. Images that localk8s itself made as stand-ins never go there: minikube's cache is its user's, and every
later cluster would take them for the real ones. What minikube would lack is found out before it is started.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from localk8s.artifacts.archive import is_made_here, read_tags
from localk8s.artifacts.base import Artifacts
from localk8s.artifacts.catalog import NEWEST, image_reference, registry
from localk8s.artifacts.images import list_images as required_images
from localk8s.artifacts.kinds import Image, ImageRole, KubernetesBinaries
from localk8s.drivers.minikube import cache
from localk8s.drivers.minikube.choice import remote_target
from localk8s.drivers.minikube.images import list_images, load_image, names_of
from localk8s.drivers.minikube.options import Options
from localk8s.drivers.minikube.session import Session
from localk8s.drivers.minikube.ssh import remote_command, ssh_argv
from localk8s.drivers.minikube.vm_drivers import Kind, VmDriver
from localk8s.model import hints
from localk8s.model.errors import ArtifactError, CommandError, Localk8sError, PrerequisiteError
from localk8s.model.progress import Reporter, SilentReporter
from localk8s.model.spec import ClusterSpec

_IMPORT = 300.0
"""Seconds one image may take to import."""
_LOOK = 20.0
"""Seconds a runtime may take to list its images."""
_ROLES = (
    ImageRole.KUBE_APISERVER,
    ImageRole.KUBE_CONTROLLER_MANAGER,
    ImageRole.KUBE_SCHEDULER,
    ImageRole.KUBE_PROXY,
    ImageRole.ETCD,
    ImageRole.PAUSE,
)


def check(
    session: Session, spec: ClusterSpec, options: Options, driver: VmDriver, artifacts: Artifacts, architecture: str
) -> None:
    """See that what the user named brings all that minikube needs; says nothing when nothing was named.

    What minikube's cache or the node's runtime has already need not be brought.

    Raises:
        ArtifactError: something would be missing; the message names all of it.
    """
    if spec.artifacts is None or spec.kubernetes_version is None:
        return
    with SilentReporter().step("look", "") as step:
        binaries = artifacts.kubernetes(spec.kubernetes_version, spec.artifacts, step)
    places = [session.home.cache, *(place for root in _roots(spec.artifacts, binaries) for place in cache.copies(root))]
    wanted = cache.Wanted(spec.kubernetes_version, options.runtime or "docker", driver, architecture)
    lacking = list(cache.missing_machine(places, wanted))
    if not options.mirrored and not (driver.preloads and cache.has_preload(places, wanted)):
        lacking += _missing_images(session, options, driver, binaries, places, architecture)
    if lacking:
        raise ArtifactError(
            f"{spec.artifacts} does not bring all that minikube needs for Kubernetes {spec.kubernetes_version}; "
            f"missing: {', '.join(lacking)}. Archives of images go to {Path(spec.artifacts) / 'images'}.",
            hint=hints.command("start", "--driver", "native", "--artifacts", spec.artifacts, cluster=spec.name),
        )


def needed_images(listed: str, binaries: KubernetesBinaries) -> tuple[str, ...]:
    """The images that minikube asks for. Pure.

    Args:
        listed: what ``kubeadm config images list`` printed. minikube takes them from today's registry for every version
            of Kubernetes (seen with 1.38.1 and 1.20.2), whatever kubeadm says.
        binaries: their version counts where kubeadm said nothing.
    """
    names = [line.strip() for line in listed.splitlines() if "/" in line and " " not in line.strip()]
    names = names or [image_reference(role, binaries.version) for role in _ROLES]
    return tuple(f"{registry(NEWEST)}/{name.partition('/')[2]}" for name in names)


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
        images = list(_brought(binaries).items())
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


def _brought(binaries: KubernetesBinaries) -> Mapping[str, Path]:
    """The archives of images that came with the programs, by reference; without stand-ins that localk8s made."""
    archives = sorted(binaries.images.glob("*.tar")) if binaries.images is not None else []
    real = [archive for archive in archives if not is_made_here(archive)]
    return {reference: archive for archive in reversed(real) for reference in read_tags(archive)}


def _missing_images(
    session: Session,
    options: Options,
    driver: VmDriver,
    binaries: KubernetesBinaries,
    places: Sequence[Path],
    architecture: str,
) -> list[str]:
    brought = _brought(binaries)
    needed = needed_images(required_images(session.runner, binaries), binaries)
    lacking = [name for name in needed if name not in brought]
    if driver.caches_images:
        lacking = [name for name in lacking if not cache.has_image(places, name, architecture)]
    if lacking and (look := _look_on_node(session.cluster, options, driver)):
        there = _names_there(session, look)
        lacking = [name for name in lacking if name not in there]
    return lacking


def _look_on_node(cluster: str, options: Options, driver: VmDriver) -> Sequence[str] | None:
    """The command that lists the images of a node that is there before its cluster."""
    argv = ["ctr", "--namespace", "k8s.io", "images", "list", "--quiet"]
    if options.runtime == "docker":
        argv = ["docker", "images", "--format", "{{.Repository}}:{{.Tag}}"]
    if driver.kind is Kind.NONE:
        return argv
    if driver.kind is Kind.SSH:
        return (*ssh_argv(remote_target(options, cluster)), remote_command(argv, options.ssh_user or "root"))
    return None


def _names_there(session: Session, look: Sequence[str]) -> frozenset[str]:
    try:
        done = session.runner.run(look, timeout=_LOOK, check=False)
    except (CommandError, PrerequisiteError):
        return frozenset()
    return frozenset(done.stdout.split()) if done.returncode == 0 else frozenset()


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
