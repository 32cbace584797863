"""Builds the seven Kubernetes programs from Debian's source package with Debian's Go, neither of them installed.

Every stage ends with one rename, so a build that was killed goes on where it stood. Which Go is on PATH does not matter.
Owns the facts of that one source tree; must not know caches or other sources.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from localk8s.artifacts.apt import Apt, dying_with_parent
from localk8s.artifacts.kinds import KUBERNETES_PROGRAMS
from localk8s.artifacts.progress import Phase
from localk8s.model.errors import ArtifactError
from localk8s.model.progress import Step
from localk8s.model.versions import KubernetesVersion
from localk8s.system.archives import PACKAGE, unpack
from localk8s.system.process import HostRunner
from localk8s.system.tar_reader import ArchiveError

_GO = "usr/lib/go-1.19"
_SOURCE = "gopath/src/k8s.io/kubernetes"
"""Where the source lies in the work directory: Go finds its vendored packages only at its place in a GOPATH."""
_REFLECT = "github.com/modern-go/reflect2"
_PACKAGES = ("golang-1.19-go", "golang-1.19-src", "golang-github-modern-go-reflect2-dev", "patch")
_ORDER = ("kubeadm", "kubectl", "kubelet", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")
_LINK_WEIGHT = 60
"""Linking one program takes about as long as compiling this many packages."""
_GENERATOR_WEIGHT = 150
_FETCH_SHARE = 0.06
"""What fetching and unpacking is of the whole time."""
_BUILD_LIMIT = 3 * 3600.0
_COMMAND_LIMIT = 600.0
_OPENAPI_TAG = b"+k8s:openapi-gen="
_OPENAPI_LEFT_OUT = ("code-generator", "sample-apiserver", "gengo", "kube-openapi")


def build_kubernetes(
    work: Path, version: KubernetesVersion, codename: str, architecture: str, runner: HostRunner, step: Step
) -> None:
    """Fill ``work/out`` with the seven programs of ``version``.

    Args:
        work: kept between tries; what is in it from a killed try is used.
        codename: the Debian release whose source package holds ``version``.
        architecture: ``amd64`` or ``arm64``: this host's.

    Raises:
        ArtifactError: the packages cannot be had.
        CommandError: a program cannot be built.
    """
    if not all((work / "out" / name).exists() for name in KUBERNETES_PROGRAMS):
        _fetch(work, codename, runner, Phase(step, 0.0, _FETCH_SHARE))
        _Tree(work, architecture, runner).build_all(version, Phase(step, _FETCH_SHARE, 1 - _FETCH_SHARE))
    for name in ("toolchain", "gopath", "gocache", "tmp", "parts"):
        shutil.rmtree(work / name, ignore_errors=True)


def stage(target: Path, make: Callable[[Path], None]) -> None:
    """Make the directory ``target`` whole or not at all; nothing happens when it is there."""
    if target.exists():
        return
    part = target.with_name(f"{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    make(part)
    os.replace(part, target)


def _fetch(work: Path, codename: str, runner: HostRunner, step: Step) -> None:
    if (work / "toolchain").exists() and (work / _SOURCE).exists():
        return
    apt = Apt(work / "apt", runner)
    step.progress(0, 1, "reading Debian's package lists")
    apt.update(codename)

    def toolchain(part: Path) -> None:
        packages = [package for package in apt.closure(_PACKAGES) if package.name in _PACKAGES]
        for archive in apt.download(packages, work / "archives", Phase(step, 0.2, 0.3), "Go from Debian"):
            apt.unpack(archive, part)

    def source(part: Path) -> None:
        files = apt.source("kubernetes", work / "archives", Phase(step, 0.5, 0.2), "Kubernetes' source from Debian")
        step.progress(0.7, 1, "unpacking Kubernetes' source")
        unpack_source(files, part, work / "toolchain/usr/bin/patch", runner)
        vendored = part / "vendor" / _REFLECT
        shutil.rmtree(vendored)  # its 1.0.1 crashes in programs that Go 1.18 and later built
        shutil.copytree(work / "toolchain/usr/share/gocode/src" / _REFLECT, vendored)

    stage(work / "toolchain", toolchain)
    stage(work / _SOURCE, source)
    for name in ("apt", "archives"):
        shutil.rmtree(work / name, ignore_errors=True)


def unpack_source(files: Sequence[Path], target: Path, patch: Path, runner: HostRunner) -> None:
    """Unpack a Debian source package of format 3.0 (quilt) into ``target`` and apply its patches, without dpkg-dev."""
    original = next(file for file in files if ".orig.tar." in file.name)
    packaging = next(file for file in files if ".debian.tar." in file.name)
    try:
        unpack(original, target, replace(PACKAGE, strip=1))
        unpack(packaging, target, PACKAGE)
    except ArchiveError as exc:
        raise ArtifactError(f"Debian's Kubernetes source package cannot be unpacked: {exc}.") from exc
    patches = target / "debian/patches"
    for line in (patches / "series").read_text(encoding="utf-8").splitlines():
        name = line.partition("#")[0].strip()
        if name:
            command = [str(patch), "--strip=1", "--force", "--silent", "--no-backup-if-mismatch", f"--input={patches / name}"]
            runner.run([*command, f"--directory={target}"], timeout=_COMMAND_LIMIT)


def linker_flags(version: KubernetesVersion) -> str:
    """What stamps ``version`` into the programs."""
    values = {"gitVersion": str(version), "gitMajor": str(version.major), "gitMinor": str(version.minor)}
    stamps = [
        f"-X k8s.io/kubernetes/vendor/k8s.io/{package}.{name}={value}"
        for package in ("component-base/version", "client-go/pkg/version")
        for name, value in values.items()
    ]
    return " ".join(("-s -w", *stamps))


def openapi_packages(source: Path) -> tuple[str, ...]:
    """Import paths of all packages below ``source`` that ask for an OpenAPI definition, sorted."""
    found = set()
    for top, prefix in (("pkg", "k8s.io/kubernetes/pkg"), ("vendor/k8s.io", "k8s.io")):
        for file in _go_files(source / top):
            path = file.parent.relative_to(source / top).as_posix()
            if not any(part in path for part in _OPENAPI_LEFT_OUT) and _OPENAPI_TAG in file.read_bytes():
                found.add(f"{prefix}/{path}")
    return tuple(sorted(found))


def _go_files(top: Path) -> Iterator[Path]:
    """Every Go file below ``top``, through links too: Debian links ``vendor/k8s.io`` into the staging tree."""
    for current, _, names in os.walk(top, followlinks=True):
        yield from (Path(current, name) for name in names if name.endswith(".go"))


@dataclass
class BuildProgress:
    """How far a build is, from what ``go build -v`` says and what ``go list`` foretold. Pure."""

    dependencies: Mapping[str, frozenset[str]]
    """For every program, the packages that are compiled for it."""
    compiled: set[str] = field(default_factory=set)
    linked: set[str] = field(default_factory=set)
    generated: bool = False

    @property
    def total(self) -> int:
        """Units of work in all."""
        everything = frozenset[str]().union(*self.dependencies.values())
        return len(everything) + _LINK_WEIGHT * len(self.dependencies) + _GENERATOR_WEIGHT

    @property
    def done(self) -> int:
        """Units of work done; never falls."""
        ready = set(self.compiled).union(*(self.dependencies[name] for name in self.linked))
        known = frozenset[str]().union(*self.dependencies.values())
        return len(ready & known) + _LINK_WEIGHT * len(self.linked) + _GENERATOR_WEIGHT * self.generated


class _Tree:
    """The unpacked source with the Go that builds it."""

    def __init__(self, work: Path, architecture: str, runner: HostRunner) -> None:
        self._work = work
        self._runner = runner
        self._go = work / "toolchain" / _GO / "bin/go"
        self._inside = work / _SOURCE
        self._environment = {
            **{name: "" for name in ("GOFLAGS", "GOEXPERIMENT", "GODEBUG", "GOBIN", "GOAMD64", "GOARM64")},
            **{"GO111MODULE": "off", "CGO_ENABLED": "0", "GOENV": "off", "GOPROXY": "off", "GOTOOLCHAIN": "local"},
            **{"GOOS": "linux", "GOARCH": architecture, "GOROOT": str(work / "toolchain" / _GO)},
            **{"GOPATH": str(work / "gopath"), "GOCACHE": str(work / "gocache"), "GOTMPDIR": str(work / "tmp")},
        }

    def build_all(self, version: KubernetesVersion, step: Step) -> None:
        for name in ("out", "gocache"):
            (self._work / name).mkdir(exist_ok=True)
        for name in ("tmp", "parts"):
            shutil.rmtree(self._work / name, ignore_errors=True)
            (self._work / name).mkdir()
        progress = BuildProgress(self._dependencies())
        progress.linked.update(name for name in _ORDER if (self._work / "out" / name).exists())
        self._generate(progress, step)
        for number, name in enumerate(_ORDER, start=1):
            if name not in progress.linked:
                self._build(name, version, f"{name}  {number} of {len(_ORDER)}", progress, step)

    def _build(self, name: str, version: KubernetesVersion, detail: str, progress: BuildProgress, step: Step) -> None:
        step.progress(progress.done, progress.total, detail)

        def show(line: str) -> None:
            progress.compiled.add(line.strip())
            step.progress(progress.done, progress.total, detail)

        part = self._work / "parts" / name
        flags = ["-v", "-trimpath", "-ldflags", linker_flags(version), "-o", str(part)]
        self._run([*dying_with_parent(), *self._gently(), str(self._go), "build", *flags, f"./cmd/{name}"], on_line=show)
        os.replace(part, self._work / "out" / name)
        progress.linked.add(name)
        step.progress(progress.done, progress.total, detail)

    def _generate(self, progress: BuildProgress, step: Step) -> None:
        """Write the one generated file that the API server needs and the source package lacks."""
        target = self._inside / "pkg/generated/openapi/zz_generated.openapi.go"
        if not target.exists():
            step.progress(progress.done, progress.total, "generating the API's description")
            generator = self._work / "parts/openapi-gen"
            package = "./vendor/k8s.io/kube-openapi/cmd/openapi-gen"
            self._run([*dying_with_parent(), *self._gently(), str(self._go), "build", "-o", str(generator), package])
            produced = self._work / "parts/openapi"
            inputs = ",".join(openapi_packages(self._inside))
            naming = ["-O", "zz_generated.openapi", "-p", "k8s.io/kubernetes/pkg/generated/openapi", "-o", str(produced)]
            header = ["-h", "hack/boilerplate/boilerplate.generatego.txt", "-r", os.devnull]
            self._run([*dying_with_parent(), str(generator), "-i", inputs, *naming, *header])
            os.replace(produced / "k8s.io/kubernetes/pkg/generated/openapi/zz_generated.openapi.go", target)
        progress.generated = True

    def _dependencies(self) -> dict[str, frozenset[str]]:
        packages = [f"./cmd/{name}" for name in _ORDER]
        # The API server's list is short of one package while the generated file is missing: no harm for a progress bar.
        listed = self._run([str(self._go), "list", "-e", "-f", '{{.ImportPath}} {{join .Deps " "}}', *packages])
        found = {line.split()[0].rpartition("/")[2]: frozenset(line.split()) for line in listed.splitlines() if line.strip()}
        if set(found) != set(KUBERNETES_PROGRAMS):
            raise ArtifactError("Debian's Kubernetes source package does not hold the seven programs.")
        return found

    def _gently(self) -> tuple[str, ...]:
        return ("nice", "-n", "10")

    def _run(self, argv: Sequence[str], on_line: Callable[[str], None] | None = None) -> str:
        done = self._runner.run(argv, env=self._environment, timeout=_BUILD_LIMIT, on_line=on_line, cwd=self._inside)
        return done.stdout
