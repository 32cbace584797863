"""A release of the program minikube over HTTP: ``BASE/vX.Y.Z/minikube-OS-ARCH`` with ``.sha256`` beside it.

Mirrors and the official site have the same layout and differ in their address only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from localk8s.artifacts import web
from localk8s.artifacts.manifest import file_digest
from localk8s.artifacts.sums import parse_digest
from localk8s.artifacts.trouble import Unavailable
from localk8s.model import hints
from localk8s.model.errors import ArtifactError, ConfigError
from localk8s.model.progress import Step

OFFICIAL = "https://storage.googleapis.com/minikube/releases"
"""Where its project publishes it."""

_SYSTEMS = {"linux": "linux", "darwin": "darwin", "win32": "windows"}


@dataclass(frozen=True, slots=True)
class MinikubeRelease:
    """One program of one release."""

    version: str
    """``v1.38.1``."""
    platform: str
    """As ``sys.platform`` spells it."""
    architecture: str
    """``amd64`` or ``arm64``."""
    sha256: str = ""
    """What its digest must be; empty goes by the ``.sha256`` file beside it."""

    @property
    def file_name(self) -> str:
        """Its name on every site.

        Raises:
            ArtifactError: there is none for this system.
        """
        system = _SYSTEMS.get(self.platform)
        if system is None or self.architecture not in ("amd64", "arm64"):
            raise ArtifactError(f"There is no minikube for {self.platform} on {self.architecture}.")
        return f"minikube-{system}-{self.architecture}" + (".exe" if system == "windows" else "")


def fetch_minikube(release: MinikubeRelease, sites: Sequence[str], target: Path, step: Step) -> str:
    """Put the program into ``target``, from the first site that has it, whole and checked or not at all.

    Args:
        release: which one.
        sites: base addresses, in the order in which they are asked.
        target: the file; replaced when it is another one.
        step: told how much has come.

    Returns:
        the address it came from; empty when it was there already.

    Raises:
        ArtifactError: no site gives it, or it is not what its digest says.
        ConfigError: an address or the digest is no such thing.
        OSError: it cannot be written.
    """
    if release.sha256 and not re.fullmatch(r"[0-9a-f]{64}", release.sha256):
        raise ConfigError(f"{release.sha256!r} is no SHA-256 digest.")
    reasons = []
    for site in sites:
        url = f"{web.check_base_url(site)}/{release.version}/{release.file_name}"
        step.progress(0, None, f"asking {web.shown_url(site)}")
        try:
            digest = release.sha256 or _digest(url)
            if target.is_file() and file_digest(target) == digest:
                return ""
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            size = web.read_size(url)
            web.download(url, target, digest, lambda done, size=size: step.progress(done, size, release.file_name))  # type: ignore[misc]
        except Unavailable as exc:
            reasons.append(str(exc))
            continue
        except ArtifactError as exc:
            if "--artifacts" in exc.hint:  # a bundle holds no minikube
                exc.hint = hints.host_command("setup", "--driver", "minikube")
            raise
        return url
    raise ArtifactError(
        f"minikube {release.version} could not be downloaded: {'; '.join(reasons) or 'no site is known that has it'}.",
        hint="install minikube yourself: localk8s takes the one on PATH",
    )


def _digest(url: str) -> str:
    digest = parse_digest(web.read_text(f"{url}.sha256"))
    if digest is None:
        raise ArtifactError(f"{web.shown_url(url)}.sha256 holds no SHA-256 digest.", hint="mend that file where it comes from")
    return digest
