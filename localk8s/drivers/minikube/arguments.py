"""The command lines that minikube is given: whole argv lists (without the program), from what is asked for. Pure.

Every value that matters is passed explicitly, because minikube would otherwise take it from its own configuration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from localk8s.drivers.minikube.options import Options
from localk8s.drivers.minikube.passthrough import flag_names
from localk8s.drivers.minikube.vm_drivers import VmDriver
from localk8s.model.quantities import MIB
from localk8s.model.spec import ClusterSpec

USER = "localk8s"
"""How localk8s is called in minikube's audit log, and how its own processes are recognised."""

LOUD = "--alsologtostderr"
"""Without it minikube keeps to itself that an image did not reach a node."""

VERSION = ("version", "--output=json")
KUBERNETES_VERSIONS = ("config", "defaults", "kubernetes-version", "--output=json")


@dataclass(frozen=True, slots=True)
class StartRequest:
    """All that ``start`` is told."""

    profile: str
    spec: ClusterSpec
    options: Options
    driver: VmDriver | None
    """None lets minikube choose (a first start without ``--vm-driver``)."""
    existing: bool
    """Whether the profile is there: what cannot change on it is then not said again."""


def start(request: StartRequest) -> tuple[str, ...]:
    """``start`` for a new or an existing profile; flags that the user passes through replace localk8s's own."""
    given = flag_names(request.options.arguments)
    flags = [(name, value) for name, value in _start_flags(request) if name not in given]
    own = tuple(f"--{name}={value}" for name, value in flags)
    return ("start", *_common(request.profile), *own, *request.options.arguments)


def _start_flags(request: StartRequest) -> list[tuple[str, str]]:
    options, driver, spec = request.options, request.driver, request.spec
    flags = [("interactive", "false"), ("embed-certs", "true"), ("auto-update-drivers", "false")]
    if driver is not None:
        flags.append(("driver", driver.name))
    if spec.kubernetes_version is not None:
        flags.append(("kubernetes-version", str(spec.kubernetes_version)))
    flags += [("container-runtime", options.runtime), ("cni", options.cni)]
    flags += _size_flags(spec, driver)
    if not request.existing and (driver is None or driver.several_nodes):
        flags.append(("nodes", str(spec.nodes)))
        if spec.control_planes > 1:
            flags.append(("ha", "true"))
    flags += _image_flags(options, driver)
    flags += [
        ("static-ip", options.static_ip),
        ("network", options.network),
        ("subnet", options.subnet),
        ("ssh-ip-address", options.ssh_address),
        ("ssh-user", options.ssh_user),
        ("ssh-key", options.ssh_key),
        ("ssh-port", str(options.ssh_port or "")),
        ("wait", "apiserver,system_pods"),
        ("wait-timeout", "6m0s"),
    ]
    return [(name, value) for name, value in flags if value]


def _size_flags(spec: ClusterSpec, driver: VmDriver | None) -> list[tuple[str, str]]:
    if driver is not None and not driver.bounds_size:
        return []
    size = spec.size
    return [
        ("cpus", "" if size.cpus is None else str(int(size.cpus))),
        ("memory", "" if size.memory is None else f"{mebibytes(size.memory)}mb"),
        ("disk-size", "" if size.disk is None else f"{mebibytes(size.disk)}mb"),
    ]


def _image_flags(options: Options, driver: VmDriver | None) -> list[tuple[str, str]]:
    addons = not options.offline if options.addons is None else options.addons
    return [
        ("preload", _boolean((driver is None or driver.preloads) and not options.mirrored)),
        ("cache-images", _boolean(driver is None or driver.caches_images)),
        ("install-addons", _boolean(addons)),
        ("image-repository", options.image_repository),
        ("image-mirror-country", options.image_mirror_country),
        ("binary-mirror", options.binary_mirror),
        ("registry-mirror", ",".join(options.registry_mirrors)),
        ("insecure-registry", ",".join(options.insecure_registries)),
        ("base-image", options.base_image),
        ("iso-url", options.iso_url),
    ]


def stop(profile: str) -> tuple[str, ...]:
    """``stop``; the context stays in the private kubeconfig, so that it can still be shown."""
    return ("stop", *_common(profile), "--keep-context-active")


def delete(profile: str) -> tuple[str, ...]:
    """``delete`` of this one profile: ``--all`` would take the containers and volumes of strangers too."""
    return ("delete", *_common(profile))


def pause(profile: str) -> tuple[str, ...]:
    """``pause``."""
    return ("pause", *_common(profile))


def unpause(profile: str) -> tuple[str, ...]:
    """``unpause``."""
    return ("unpause", *_common(profile))


def status(profile: str) -> tuple[str, ...]:
    """``status`` of all nodes: an object, an array, or what it prints instead."""
    return ("status", "--output=json", f"--profile={profile}")


def profile_list() -> tuple[str, ...]:
    """``profile list`` without asking any machine for its state, which also spares it a look into the kubeconfig."""
    return ("profile", "list", "--light", "--output=json")


def update_context(profile: str) -> tuple[str, ...]:
    """``update-context``: writes the API server's address into the private kubeconfig again."""
    return ("update-context", f"--profile={profile}")


def set_current_profile(profile: str) -> tuple[str, ...]:
    """Makes ``profile`` the one that the user's own minikube commands mean."""
    return ("config", "set", "profile", profile)


def node_add(profile: str) -> tuple[str, ...]:
    """``node add`` of one worker. Never for a driver with one node: minikube says so and destroys the cluster."""
    return ("node", "add", f"--profile={profile}", "--worker=true", f"--user={USER}")


def node_delete(profile: str, node: str) -> tuple[str, ...]:
    """``node delete``.

    Args:
        node: the machine's name without the profile's: ``m02``.
    """
    return ("node", "delete", node, f"--profile={profile}", f"--user={USER}")


def node_stop(profile: str, machine: str) -> tuple[str, ...]:
    """``node stop`` of the machine called ``machine``."""
    return ("node", "stop", machine, f"--profile={profile}", f"--user={USER}")


def node_start(profile: str, machine: str) -> tuple[str, ...]:
    """``node start`` of the machine called ``machine``."""
    return ("node", "start", machine, f"--profile={profile}", f"--user={USER}")


def docker_env(profile: str) -> tuple[str, ...]:
    """``docker-env`` as data: the only form in which ``-o json`` is heeded."""
    return ("docker-env", f"--profile={profile}", "--shell=none", "--output=json")


def logs(profile: str, machine: str, lines: int) -> tuple[str, ...]:
    """``logs`` of one machine's components, the last lines of each."""
    return ("logs", f"--profile={profile}", f"--node={machine}", f"--length={lines}")


def image_list(profile: str) -> tuple[str, ...]:
    """``image ls``."""
    return ("image", "ls", f"--profile={profile}", "--format=json")


def image_load(profile: str, archive: Path) -> tuple[str, ...]:
    """``image load`` of a file; the flags keep minikube from guessing what the argument is."""
    return ("image", "load", str(archive), f"--profile={profile}", "--daemon=false", "--remote=false", "--overwrite=true", LOUD)


def image_remove(profile: str, reference: str) -> tuple[str, ...]:
    """``image rm``."""
    return ("image", "rm", reference, f"--profile={profile}", LOUD)


def image_save(profile: str, reference: str, target: Path) -> tuple[str, ...]:
    """``image save`` of one image into a file: without one it goes into minikube's cache."""
    return ("image", "save", reference, str(target), f"--profile={profile}", "--daemon=false", "--remote=false")


def image_pull(profile: str, reference: str) -> tuple[str, ...]:
    """``image pull`` on every node."""
    return ("image", "pull", reference, f"--profile={profile}", LOUD)


def image_tag(profile: str, source: str, target: str) -> tuple[str, ...]:
    """``image tag``."""
    return ("image", "tag", source, target, f"--profile={profile}", LOUD)


def image_build(profile: str, context: Path, name: str, file: str, arguments: Sequence[str]) -> tuple[str, ...]:
    """``image build`` on every node: without ``--all`` the first alone gets it.

    Args:
        arguments: ``NAME=VALUE`` of ARG instructions.
    """
    more = [f"--file={file}"] if file else []
    more += [f"--build-opt=build-arg={each}" for each in arguments]
    return ("image", "build", str(context), f"--profile={profile}", f"--tag={name}", "--all=true", *more, LOUD)


def mount(profile: str, source: Path, target: str) -> tuple[str, ...]:
    """``mount``, which serves the directory for as long as it runs."""
    return ("mount", f"{source}:{target}", f"--profile={profile}", f"--user={USER}")


def dashboard(profile: str, port: int) -> tuple[str, ...]:
    """``dashboard``, which serves it for as long as it runs; a browser is never its business."""
    return ("dashboard", "--url", f"--port={port}", f"--profile={profile}", f"--user={USER}")


def mebibytes(size: int) -> int:
    """``size`` bytes in MiB, rounded up: minikube's unit."""
    return -(-size // MIB)


def _common(profile: str) -> tuple[str, ...]:
    return ("--output=json", f"--profile={profile}", f"--user={USER}")


def _boolean(value: bool) -> str:
    return "true" if value else "false"
