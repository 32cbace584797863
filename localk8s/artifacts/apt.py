"""Debian packages fetched with apt but never installed: own lists, own cache, own empty record of what is installed.

The host's apt configuration serves for proxies and keys only; its state and its caches stay untouched, and no root is
needed. Signature checks are apt's own and stay on. Must not know what the packages are for.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from localk8s.artifacts.apt_sources import AptSource, debian_sources, render_sources
from localk8s.model.errors import ArtifactError, CommandError
from localk8s.model.hints import host_command, instead
from localk8s.model.node import Completed
from localk8s.model.progress import Step
from localk8s.system.archives import PACKAGE, unpack
from localk8s.system.files import write_atomic
from localk8s.system.process import HostRunner
from localk8s.system.tar_reader import ArchiveError

_UPDATE_LIMIT = 600.0
_FETCH_LIMIT = 3600.0
_LOOK_UP_LIMIT = 120.0

_CONFIGURATION = """\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear Acquire::IndexTargets::deb::DEP-11;
#clear Acquire::IndexTargets::deb::DEP-11-icons;
#clear Acquire::IndexTargets::deb::DEP-11-icons-small;
#clear Acquire::IndexTargets::deb::DEP-11-icons-large;
Dir::Etc::sourcelist "{directory}/debian.sources";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "{directory}";
Dir::State::lists "{directory}/lists";
Dir::State::status "{directory}/status";
Dir::Cache "{directory}";
Dir::Cache::archives "{directory}/archives";
Dir::Log "{directory}";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
APT::Install-Suggests "false";
APT::Update::Error-Mode "any";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
"""


@dataclass(frozen=True, slots=True)
class Package:
    """A binary package that apt would fetch."""

    name: str
    version: str
    section: str
    """Debian's archive section, such as ``libs``."""
    sha256: str
    size: int
    """Bytes of the .deb."""


class Apt:
    """apt with a configuration of its own below one directory.

    Args:
        directory: for lists and archives; removed by whoever owns it.
        runner: runs apt.
        host: ``/etc`` of the host, where its sources stand.
    """

    def __init__(self, directory: Path, runner: HostRunner, host: Path = Path("/etc")) -> None:
        self._directory = directory
        self._runner = runner
        self._host = host

    def update(self, suite: str) -> None:
        """Fetch and check the lists of the Debian suite ``suite``.

        Raises:
            ArtifactError: the host has no source for it, or it cannot be reached or trusted.
        """
        sources = debian_sources(read_host_sources(self._host), suite)
        if not sources:
            raise ArtifactError(
                f"None of this host's package sources is an archive of Debian, which has {suite}.",
                hint=instead("--artifacts", "DIRECTORY"),
            )
        self._configure(sources)
        self._run("update", "-q", limit=_UPDATE_LIMIT)

    def closure(self, names: Sequence[str]) -> tuple[Package, ...]:
        """``names`` and all that they depend on, as apt would install them on an empty system."""
        printed = self._run("install", "--print-uris", "-qq", "-y", *names, limit=_LOOK_UP_LIMIT).stdout
        wanted = re.findall(r"^'\S+' ([a-z0-9][a-z0-9+.-]+)_\S+\.deb ", printed, re.MULTILINE)
        shown = self._runner.run(
            ["apt-cache", f"-c={self._directory}/apt.conf", "show", "--no-all-versions", *wanted],
            env={"LC_ALL": "C"},
            timeout=_LOOK_UP_LIMIT,
        ).stdout
        return parse_packages(shown)

    def download(self, packages: Iterable[Package], into: Path, step: Step, detail: str) -> tuple[Path, ...]:
        """Fetch the .deb files of ``packages``; apt checks their digests against the signed lists.

        Returns:
            the files, sorted by name.
        """
        wanted = list(packages)
        total = sum(package.size for package in wanted)
        names = [f"{package.name}={package.version}" for package in wanted]

        self._fetch("download", *names, into=into, tell=lambda part: step.progress(total * part, total, detail))
        return tuple(sorted(into.glob("*.deb")))

    def source(self, name: str, into: Path, step: Step, detail: str) -> tuple[Path, ...]:
        """Fetch the source package ``name`` (not unpacked); apt checks it against the signed lists.

        Returns:
            its files.
        """
        self._fetch("source", "--download-only", name, into=into, tell=lambda part: step.progress(part, 1, detail))
        return tuple(sorted(into.iterdir()))

    def unpack(self, archive: Path, root: Path) -> None:
        """Unpack a .deb below ``root``; none of its scripts run.

        Raises:
            ArtifactError: it is damaged.
        """
        with tempfile.NamedTemporaryFile(dir=self._directory, prefix="files-", suffix=".tar") as files:
            self._runner.run(["dpkg-deb", "--fsys-tarfile", str(archive)], timeout=_FETCH_LIMIT, into=cast("IO[bytes]", files))
            try:
                unpack(Path(files.name), root, PACKAGE)
            except ArchiveError as exc:
                raise ArtifactError(f"Debian's package {archive.name} cannot be unpacked: {exc}.") from exc

    def _fetch(self, command: str, *arguments: str, into: Path, tell: Callable[[float], None]) -> None:
        """Run a fetching command in the new directory ``into``; ``tell`` hears which part (0 to 1) has come."""
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir(parents=True)

        def show(line: str) -> None:
            if match := re.match(r"dlstatus:\d+:([0-9.]+):", line):
                tell(min(float(match[1]) / 100, 1.0))

        self._run(command, "-q", "-o", "APT::Status-Fd=1", *arguments, limit=_FETCH_LIMIT, cwd=into, on_line=show)
        tell(1.0)

    def _configure(self, sources: Sequence[AptSource]) -> None:
        for part in ("lists/partial", "archives/partial"):
            (self._directory / part).mkdir(parents=True, exist_ok=True)
        write_atomic(self._directory / "status", "")
        write_atomic(self._directory / "debian.sources", render_sources(sources), mode=0o644)
        write_atomic(self._directory / "apt.conf", _CONFIGURATION.format(directory=self._directory))

    def _run(self, *arguments: str, limit: float, **more: object) -> Completed:
        argv = [*dying_with_parent(), "apt-get", f"-c={self._directory}/apt.conf", *arguments]
        try:
            return self._runner.run(argv, env={"LC_ALL": "C"}, timeout=limit, **more)  # type: ignore[arg-type]
        except CommandError as exc:
            raise apt_trouble(exc) from exc


def dying_with_parent() -> tuple[str, ...]:
    """What to put before a long command so that it ends with this process, however that ends (util-linux only)."""
    return ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()


def read_host_sources(host: Path) -> dict[str, str]:
    """The host's package source files by name."""
    apt = host / "apt"
    files = [apt / "sources.list", *sorted(apt.glob("sources.list.d/*.list")), *sorted(apt.glob("sources.list.d/*.sources"))]
    return {str(file): file.read_text(encoding="utf-8", errors="replace") for file in files if file.is_file()}


def parse_packages(shown: str) -> tuple[Package, ...]:
    """The packages in the output of ``apt-cache show``."""
    found = []
    for stanza in shown.strip().split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", stanza, re.MULTILINE))
        if {"Package", "Version", "SHA256", "Size"} <= fields.keys():
            section = fields.get("Section", "").rpartition("/")[2]
            found.append(Package(fields["Package"], fields["Version"], section, fields["SHA256"], int(fields["Size"])))
    return tuple(found)


def apt_trouble(exc: CommandError) -> CommandError | ArtifactError:
    """One sentence for what made apt fail."""
    text = exc.stderr + exc.stdout
    if suite := re.search(r"The repository '\S+ (\S+) (?:In)?Release' does not have a Release file", text):
        return ArtifactError(
            f'Debian\'s package archive has no suite "{suite[1]}".',
            hint=host_command("config view", "--show-origin"),
            details=text,
        )
    reasons = (
        (r"No space left|not enough free space", ""),
        (r"not signed|NO_PUBKEY|BADSIG|signatures? (couldn't|were invalid)", "its signature cannot be verified"),
        (r"Hash Sum mismatch|unexpected size", "a file of it is not what its signed list says"),
        (r"Temporary failure resolving|Could not resolve", "its host name does not resolve"),
        (r"Could not connect|Connection failed|Failed to fetch|timed out|unreachable", "it cannot be reached"),
        (r"Unable to (locate|find a source) package", "it does not have a package that is needed"),
    )
    reason = next((words for pattern, words in reasons if re.search(pattern, text)), "")
    if not reason:
        return exc
    lines = "\n".join(line for line in text.splitlines() if line.startswith(("E:", "W:", "Err:")))
    return ArtifactError(
        f"Debian's package archive cannot be used: {reason}.", hint=instead("--artifacts", "DIRECTORY"), details=lines or text
    )
