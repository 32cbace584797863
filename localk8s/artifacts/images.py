"""Images for a cluster: taken from what came with the programs, or made from them and kept in the cache.

Owns the order of these two and the key under which a made image is kept. Contents are ``recipes.py``'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from localk8s.artifacts.archive import read_tags, write_image
from localk8s.artifacts.cache import Cache, Entry
from localk8s.artifacts.catalog import RECORDED, image_reference
from localk8s.artifacts.kinds import Image, ImageRole, KubernetesBinaries
from localk8s.artifacts.manifest import file_digest
from localk8s.artifacts.node_root import ROOT
from localk8s.artifacts.recipes import RECIPE, Materials, recipe
from localk8s.model.errors import CommandError, PrerequisiteError
from localk8s.model.progress import Step
from localk8s.system.process import HostRunner

_OF_PROGRAMS = (
    ImageRole.KUBE_PROXY,
    ImageRole.KUBE_APISERVER,
    ImageRole.KUBE_CONTROLLER_MANAGER,
    ImageRole.KUBE_SCHEDULER,
)


_DNS_MODULES = (
    "__init__.py", "_version.py", "model/__init__.py", "model/errors.py", "kube/__init__.py",
    "kube/endpoint.py", "kube/paths.py", "kube/rest.py", "kube/transport.py", "kube/dns_*.py",
)  # fmt: skip
"""What ``localk8s.kube.dns_feed`` imports; the rest of the package is not in the DNS image."""


def own_scripts() -> tuple[Path, Mapping[str, Path]]:
    """This package's data directory; and the modules of the DNS image, each by its path below a directory of packages."""
    package = Path(__file__).parents[1]
    modules = sorted(file for pattern in _DNS_MODULES for file in package.glob(pattern))
    return package / "artifacts/data", {module.relative_to(package.parent).as_posix(): module for module in modules}


class ImageMaker:
    """Finds or makes images.

    Args:
        cache: where made images are kept.
        architecture: this host's.
        runner: asks kubeadm for names of images.
        scripts: the data directory and the DNS image's modules (see ``own_scripts``).
    """

    def __init__(self, cache: Cache, architecture: str, runner: HostRunner, scripts: tuple[Path, Mapping[str, Path]]) -> None:
        self._cache = cache
        self._arch = architecture
        self._runner = runner
        self._data, self._feeders = scripts

    def images(
        self, binaries: KubernetesBinaries, root: Callable[[], Entry], roles: Sequence[ImageRole], step: Step
    ) -> tuple[Image, ...]:
        """One image for each of ``roles``, in their order.

        Args:
            root: gives the entry of the nodes' root; called only when an image has to be made.
        """
        given = _given_images(binaries.images)
        references = self._asked(binaries) if binaries.version not in RECORDED else {}
        found = []
        for number, role in enumerate(roles, start=1):
            reference = references.get(role) or image_reference(role, binaries.version)
            step.progress(number - 1, len(roles), reference)
            archive = given.get(reference) or self._made(role, reference, binaries, root(), step)
            found.append(Image(role, reference, archive))
        step.progress(len(roles), len(roles))
        return tuple(found)

    def _asked(self, binaries: KubernetesBinaries) -> dict[ImageRole, str]:
        """What this kubeadm calls its images; nothing when it does not say."""
        return parse_image_list(list_images(self._runner, binaries))

    def _made(self, role: ImageRole, reference: str, binaries: KubernetesBinaries, root: Entry, step: Step) -> Path:
        inputs = [RECIPE, role.value, reference, self._arch, root.digest]
        if role in _OF_PROGRAMS:
            inputs.append(binaries.digests.get(role.value) or file_digest(binaries.directory / role.value))
        if role is ImageRole.ECHO:
            inputs += [file_digest(path) for path in sorted(self._data.iterdir()) if path.is_file()]
        if role is ImageRole.DNS:
            inputs += [f"{name}={file_digest(path)}" for name, path in self._feeders.items()]
        key = hashlib.sha256("\n".join(inputs).encode()).hexdigest()[:16]

        def make(work: Path, shared: Step) -> Mapping[str, str]:
            (work / "out").mkdir(exist_ok=True)
            materials = Materials(binaries.directory, root.path / ROOT, self._arch, self._data, self._feeders)
            contents, run = recipe(role, materials)
            write_image(work / "out/image.tar", reference, self._arch, contents, run)
            return {"source": "made here", "reference": reference}

        return self._cache.obtain(f"images/{role.value}-{key}", f"the image {reference}", step, make).path / "image.tar"


def list_images(runner: HostRunner, binaries: KubernetesBinaries) -> str:
    """What ``kubeadm config images list`` of these programs prints; nothing when they cannot be asked."""
    command = [str(binaries.directory / "kubeadm"), "config", "images", "list", f"--kubernetes-version={binaries.version}"]
    try:
        return runner.run(command, timeout=30).stdout
    except (CommandError, PrerequisiteError):
        return ""


def parse_image_list(listed: str) -> dict[ImageRole, str]:
    """The references in the output of ``kubeadm config images list``, by role."""
    names = {role.value: role for role in ImageRole}
    lines = [line.strip() for line in listed.splitlines()]
    pairs = [(line.rpartition(":")[0].rpartition("/")[2], line) for line in lines if "/" in line and " " not in line]
    return {names[name]: line for name, line in pairs if name in names}


def _given_images(directory: Path | None) -> dict[str, Path]:
    """Reference to archive for every archive in ``directory``."""
    if directory is None:
        return {}
    return {tag: archive for archive in sorted(directory.glob("*.tar")) for tag in read_tags(archive)}
