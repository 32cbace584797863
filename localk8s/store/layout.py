"""Every file and directory name that localk8s uses below its roots. The only module that knows them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from localk8s.system.paths import Roots


@dataclass(frozen=True, slots=True)
class Layout:
    """Names of files and directories; knowing them makes nothing."""

    roots: Roots

    @property
    def config_file(self) -> Path:
        """The user's settings."""
        return self.roots.config / "config.yaml"

    @property
    def clusters(self) -> Path:
        """One directory a cluster with its record, lock and logs."""
        return self.roots.state / "clusters"

    def record(self, cluster: str) -> Path:
        """The cluster's record."""
        return self.clusters / cluster / "cluster.json"

    def log(self, cluster: str) -> Path:
        """What the last runs did: every command and its output."""
        return self.clusters / cluster / "localk8s.log"

    def kubeconfig(self, cluster: str) -> Path:
        """The cluster's own kubeconfig, for ``localk8s kubectl``; the user's files are not needed for it."""
        return self.clusters / cluster / "kubeconfig"

    def docker(self, cluster: str, node: str) -> Path:
        """Certificates for the docker that runs on ``node``."""
        return self.clusters / cluster / "docker" / node

    def dashboard_entry(self, cluster: str, port: int) -> Path:
        """The page that leads a browser to the dashboard on ``port``; it holds the dashboard's token."""
        return self.clusters / cluster / f"dashboard-{port}.html"

    def mounts(self, cluster: str) -> Path:
        """The list of this host's directories that are on the cluster's nodes."""
        return self.clusters / cluster / "mounts.json"

    def hosts_files(self, cluster: str) -> Path:
        """The list of hosts files that hold names of the cluster."""
        return self.clusters / cluster / "hosts-files"

    @property
    def bug_log(self) -> Path:
        """Tracebacks of unexpected errors, the newest last."""
        return self.roots.state / "bugs.log"

    def lock(self, cluster: str) -> Path:
        """Held while a command changes the cluster. Beside the directory, so that delete can hold it to the end."""
        return self.roots.state / "locks" / f"{cluster}.lock"

    def driver_lock(self, driver: str) -> Path:
        """Held while a driver decides what its clusters must not share, such as address ranges."""
        return self.roots.state / "locks" / f".{driver}.lock"

    def driver_data(self, driver: str) -> Path:
        """All that a driver keeps; it makes one directory a cluster in it."""
        return self.roots.data / driver

    @property
    def artifacts(self) -> Path:
        """The artifact cache."""
        return self.roots.cache / "artifacts"

    @property
    def boxes(self) -> Path:
        """Boxes built here for Vagrant; clusters keep links to what they use of them."""
        return self.roots.cache / "boxes"

    @property
    def tools(self) -> Path:
        """Programs that ``setup`` fetched for the user (minikube)."""
        return self.roots.data / "bin"
