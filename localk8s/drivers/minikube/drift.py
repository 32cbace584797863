"""What differs between the cluster that is there and the one asked for, and which of it can be changed. Pure.

minikube ignores most of these wishes on an existing profile, some with a warning, some without a word. localk8s
refuses instead: nothing asked for is ever silently ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from localk8s.drivers.base import Change
from localk8s.drivers.minikube.arguments import mebibytes
from localk8s.drivers.minikube.options import Options, parse_options
from localk8s.drivers.minikube.profile import ProfileConfig
from localk8s.drivers.minikube.vm_drivers import VmDriver, vm_driver
from localk8s.model import hints
from localk8s.model.errors import WrongStateError
from localk8s.model.quantities import MIB, format_change, size_argument
from localk8s.model.spec import ClusterSpec

_FIXED = "minikube cannot change it on an existing cluster"
_IGNORED = "minikube would ignore it without a word"
_UNSURE = "minikube heeds only some arguments on an existing cluster"
_HARMLESS = ("--force", "--force=true", "--alsologtostderr", "--native-ssh=false")
"""Arguments about how minikube works, not about what the cluster is."""


def spec_changes(recorded: ClusterSpec, wanted: ClusterSpec) -> tuple[Change, ...]:
    """The differences between two specs of one cluster."""
    before, after = parse_options(recorded.options), parse_options(wanted.options)
    changes = [*_size_changes(recorded, wanted), *_node_changes(recorded, wanted, after.driver or before.driver)]
    if recorded.kubernetes_version and wanted.kubernetes_version and recorded.kubernetes_version != wanted.kubernetes_version:
        changes.append(_fixed("kubernetes-version", str(recorded.kubernetes_version), str(wanted.kubernetes_version)))
    return (*changes, *_option_changes(before, after))


def profile_changes(profile: ProfileConfig, wanted: ClusterSpec, *, sizes: bool = True) -> tuple[Change, ...]:
    """The differences between what minikube recorded and a spec.

    Args:
        sizes: False where the recorded sizes mean nothing: minikube itself rewrites the memory when a node is added.
    """
    options = parse_options(wanted.options)
    driver = vm_driver(profile.driver)
    changes: list[Change] = []
    if options.driver is not None and options.driver.name != driver.name:
        changes.append(_fixed("vm-driver", driver.name, options.driver.name))
    if sizes and driver.bounds_size:
        changes += _recorded_sizes(profile, wanted)
    if wanted.kubernetes_version is not None and profile.kubernetes_version not in ("", str(wanted.kubernetes_version)):
        changes.append(_fixed("kubernetes-version", profile.kubernetes_version, str(wanted.kubernetes_version)))
    changes += _recorded_options(profile, options)
    return tuple(changes)


def refuse(changes: Sequence[Change], cluster: str, recreate: str) -> None:
    """Refuse the changes that only a new cluster can have.

    Args:
        changes: live ones are passed over.
        cluster: its name.
        recreate: the command line that makes the wanted cluster.

    Raises:
        WrongStateError: naming both values, and the commands that recreate.
    """
    fixed = [change for change in changes if not change.live]
    if not fixed:
        return
    texts = "; ".join(f"{change.field} is {change.recorded}, asked for {change.wanted} ({change.reason})" for change in fixed)
    raise WrongStateError(
        f'Cluster "{cluster}" is there with something else: {texts}.',
        hint=f"{hints.command('delete', cluster=cluster)} && {recreate}",
    )


def start_command(spec: ClusterSpec) -> str:
    """The ``localk8s start`` line that makes ``spec`` anew."""
    words = ["--driver", spec.driver]
    if spec.nodes != 1:
        words += ["--nodes", str(spec.nodes)]
    if spec.size.cpus is not None:
        words += ["--cpus", f"{spec.size.cpus:f}"]
    if spec.size.memory is not None:
        words += ["--memory", size_argument(spec.size.memory)]
    if spec.size.disk is not None:
        words += ["--disk-size", size_argument(spec.size.disk)]
    if spec.kubernetes_version is not None:
        words += ["--kubernetes-version", str(spec.kubernetes_version)]
    for key, value in sorted(spec.options.items()):
        words += ["--driver-option", f"{key}={value}"]
    return hints.command("start", *words, cluster=spec.name)


def _size_changes(recorded: ClusterSpec, wanted: ClusterSpec) -> Iterator[Change]:
    for field, before, after in (
        ("memory", recorded.size.memory, wanted.size.memory),
        ("disk-size", recorded.size.disk, wanted.size.disk),
    ):
        if after is not None and before is not None and mebibytes(before) != mebibytes(after):
            yield _fixed(field, *format_change(before, after))
    if wanted.size.cpus is not None and recorded.size.cpus is not None and wanted.size.cpus != recorded.size.cpus:
        yield _fixed("cpus", f"{recorded.size.cpus}", f"{wanted.size.cpus}")


def _node_changes(recorded: ClusterSpec, wanted: ClusterSpec, driver: VmDriver | None) -> Iterator[Change]:
    if wanted.nodes != recorded.nodes:
        live = wanted.nodes > recorded.nodes and (driver is None or driver.several_nodes)
        why = "" if live else "nodes are taken away one by one, by name" if wanted.nodes < recorded.nodes else "it has one node"
        yield Change("nodes", str(recorded.nodes), str(wanted.nodes), live=live, reason=why)
    if wanted.control_planes != recorded.control_planes:
        yield _fixed("control-planes", str(recorded.control_planes), str(wanted.control_planes))


def _option_changes(before: Options, after: Options) -> Iterator[Change]:
    if before.driver is not None and after.driver is not None and before.driver != after.driver:
        yield _fixed("vm-driver", before.driver.name, after.driver.name)
    for field, old, new, reason in (
        ("container-runtime", before.runtime, after.runtime, _FIXED),
        ("cni", before.cni, after.cni, _FIXED),
        ("image-repository", before.image_repository, after.image_repository, _IGNORED),
        ("image-mirror-country", before.image_mirror_country, after.image_mirror_country, _IGNORED),
        ("registry-mirror", _list(before.registry_mirrors), _list(after.registry_mirrors), _IGNORED),
        ("insecure-registry", _list(before.insecure_registries), _list(after.insecure_registries), _IGNORED),
        ("binary-mirror", before.binary_mirror, after.binary_mirror, _IGNORED),
        ("base-image", before.base_image, after.base_image, _IGNORED),
        ("static-ip", before.static_ip, after.static_ip, _FIXED),
        ("ssh-ip-address", before.ssh_address, after.ssh_address, _FIXED),
    ):
        if new and old != new:
            yield Change(field, old or "none", new, live=False, reason=reason)
    added = [argument for argument in after.arguments if argument not in before.arguments and argument not in _HARMLESS]
    if added:
        yield Change(
            "minikube-arg", " ".join(before.arguments) or "none", " ".join(after.arguments), live=False, reason=_UNSURE
        )


def _recorded_sizes(profile: ProfileConfig, wanted: ClusterSpec) -> Iterator[Change]:
    """Sizes that minikube recorded as 0 have no bound, and nothing to compare with."""
    for field, recorded, asked in (
        ("memory", profile.memory, wanted.size.memory),
        ("disk-size", profile.disk, wanted.size.disk),
    ):
        if asked is not None and recorded and recorded != mebibytes(asked):
            yield _fixed(field, *format_change(recorded * MIB, asked))
    if wanted.size.cpus is not None and profile.cpus and profile.cpus != int(wanted.size.cpus):
        yield _fixed("cpus", str(profile.cpus), str(int(wanted.size.cpus)))


def _recorded_options(profile: ProfileConfig, options: Options) -> Iterator[Change]:
    runtime = {"cri-o": "crio"}.get(profile.runtime, profile.runtime)
    for field, recorded, asked, reason in (
        ("container-runtime", runtime, options.runtime, _FIXED),
        ("cni", profile.cni, options.cni, _FIXED),
        ("image-repository", profile.image_repository, options.image_repository, _IGNORED),
        ("registry-mirror", _list(profile.registry_mirrors), _list(options.registry_mirrors), _IGNORED),
        ("insecure-registry", _list(profile.insecure_registries), _list(options.insecure_registries), _IGNORED),
        ("binary-mirror", profile.binary_mirror, options.binary_mirror, _IGNORED),
        ("static-ip", profile.static_ip, options.static_ip, _FIXED),
        ("ssh-ip-address", profile.ssh_address, options.ssh_address, _FIXED),
    ):
        if asked and asked != recorded and asked != "auto":
            yield Change(field, recorded or "none", asked, live=False, reason=reason)


def _list(items: Sequence[str]) -> str:
    return ", ".join(sorted(items))


def _fixed(field: str, recorded: str, wanted: str) -> Change:
    return Change(field, recorded, wanted, live=False, reason=_FIXED)
