"""In which hosts files a cluster's names stand: written down before they are written in, so that ``delete`` takes them out.

Owns that list, one path a line. What a cluster of the same name in another home of localk8s wrote is not its business.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from localk8s.helpers.hosts import blocks, hosts_file, with_block, write_hosts
from localk8s.model.errors import PrerequisiteError
from localk8s.model.hints import command
from localk8s.model.progress import Reporter
from localk8s.model.status import Finding, Severity
from localk8s.system.files import write_atomic
from localk8s.wiring import Installation


def read_table(path: Path) -> str:
    """A hosts file, whatever bytes are in it; empty when there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return ""


def write_names(installation: Installation, cluster: str, path: Path, content: str, *, can_ask: bool) -> None:
    """Replace the hosts file ``path``, and remember that it is one; errors as for ``write_hosts``."""
    places = dict.fromkeys((*_places(installation, cluster), str(path.absolute())))
    listing = installation.layout.hosts_files(cluster)
    if listing.parent.is_dir():
        write_atomic(listing, "".join(f"{place}\n" for place in places))
    wanted = "--apply" if cluster in blocks(content) else "--remove"
    hint = command("hosts", wanted, *_named(path), cluster=cluster)
    write_hosts(path, content, installation.runner(), can_ask=can_ask, hint=hint)


def withdraw_names(installation: Installation, cluster: str, report: Reporter) -> None:
    """Take the cluster's names out of the files into which they were written; says what remains."""
    for place in _places(installation, cluster):
        path = Path(place)
        try:
            before = read_table(path)
            after = with_block(before, cluster, ())
            if cluster in blocks(before):
                write_hosts(path, after, installation.runner(), can_ask=False, hint="")
        except (PrerequisiteError, OSError):
            report.warn(f"Names of the cluster remain in {path}: {_removal(cluster, path)}")


def leftovers(installation: Installation) -> tuple[Finding, ...]:
    """Names in this host's table of clusters that are not here."""
    lost: list[str] = []
    with contextlib.suppress(OSError):
        lost = sorted({*blocks(read_table(hosts_file()))} - set(installation.records.names()))
    message = '{} has names of cluster "{}", which is not here.'
    return tuple(
        Finding(Severity.WARNING, "leftovers", message.format(hosts_file(), name), _removal(name, hosts_file()))
        for name in lost
    )


def _places(installation: Installation, cluster: str) -> list[str]:
    try:
        return installation.layout.hosts_files(cluster).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _removal(cluster: str, path: Path) -> str:
    return f"sudo {command('hosts', '--remove', *_named(path), cluster=cluster)}"


def _named(path: Path) -> tuple[str, ...]:
    return () if path == hosts_file() else ("--file", str(path))
