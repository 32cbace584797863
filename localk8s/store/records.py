"""The cluster record: the spec a cluster was created from, versioned, read strictly, written atomically.

Must not know what a driver keeps for itself.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from localk8s.model.errors import Localk8sError, NotFoundError, UsageError
from localk8s.model.hints import command
from localk8s.model.names import check_cluster_name
from localk8s.model.spec import ClusterSpec, NodeSize
from localk8s.model.versions import KubernetesVersion, parse_kubernetes_version
from localk8s.store.layout import Layout
from localk8s.system.files import write_atomic
from localk8s.system.locks import exclusive

FORMAT = 1
"""Raised when a record written today could not be read by an older localk8s."""


class CorruptRecordError(Localk8sError):
    """A record that cannot be understood. The cluster can still be deleted."""

    code = "corrupt_record"
    exit_code = 4


@dataclass(frozen=True, slots=True)
class Record:
    """What is remembered of a cluster."""

    spec: ClusterSpec
    created: bool
    """False until the first ``create`` came to its end."""
    driver_source: str = ""
    """Why this driver, when the cluster was created: ``--driver``, ``LOCALK8S_DRIVER``, …"""
    leaving: str = ""
    """The node that is being deleted; the next ``start`` finishes that. Empty when none is."""
    deleting: bool = False
    """Whether the whole cluster is being deleted: what is there of it may be half of it."""


class Records:
    """All records below one layout.

    Args:
        layout: where they are.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def names(self) -> tuple[str, ...]:
        """Names of all recorded clusters, sorted; readable or not."""
        found = self._layout.clusters.glob("*/cluster.json")
        return tuple(sorted(path.parent.name for path in found))

    def load(self, cluster: str) -> Record:
        """The record of ``cluster``.

        Raises:
            NotFoundError: there is none.
            CorruptRecordError: it cannot be understood.
        """
        check_cluster_name(cluster)
        path = self._layout.record(cluster)
        try:
            record = decode(path.read_text(encoding="utf-8"))
            if record.spec.name != cluster:
                raise ValueError(f"it is the record of cluster {record.spec.name!r}")
            return record
        except FileNotFoundError:
            raise NotFoundError(f'There is no cluster "{cluster}".', hint=command("start", cluster=cluster)) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, UsageError) as exc:
            raise CorruptRecordError(
                f'The record of cluster "{cluster}" cannot be read ({path}).',
                hint=command("delete", cluster=cluster),
                details=str(exc),
            ) from exc

    def save(self, record: Record) -> None:
        """Write ``record``, whole or not at all."""
        write_atomic(self._layout.record(record.spec.name), encode(record))

    def forget(self, cluster: str) -> None:
        """Forget ``cluster`` but keep its log: what a failed create that was taken back leaves to be read."""
        for path in (self._layout.record(cluster), self._layout.kubeconfig(cluster)):
            path.unlink(missing_ok=True)

    def remove(self, cluster: str) -> None:
        """Forget ``cluster`` with its logs. Forgetting what is not there succeeds."""
        check_cluster_name(cluster)
        directory = self._layout.record(cluster).parent
        with contextlib.suppress(FileNotFoundError):
            self._layout.record(cluster).unlink()
        shutil.rmtree(directory, ignore_errors=True)

    def locked(self, cluster: str, *, timeout: float = 0.0) -> AbstractContextManager[None]:
        """Hold the cluster's lock for a block; see ``system.locks.exclusive``."""
        return self._locked(check_cluster_name(cluster), timeout)

    @contextlib.contextmanager
    def _locked(self, cluster: str, timeout: float) -> Iterator[None]:
        hint = f"wait for it, or look at: {command('status', cluster=cluster)}"
        with exclusive(self._layout.lock(cluster), what=f'Cluster "{cluster}"', timeout=timeout, hint=hint):
            yield


def encode(record: Record) -> str:
    """The record as JSON text."""
    spec = record.spec
    size = {
        "cpus": None if spec.size.cpus is None else str(spec.size.cpus),
        "memory": spec.size.memory,
        "disk": spec.size.disk,
    }
    content: dict[str, Any] = {
        "format": FORMAT,
        "created": record.created,
        "driverSource": record.driver_source,
        "spec": {
            "name": spec.name,
            "driver": spec.driver,
            "nodes": spec.nodes,
            "controlPlanes": spec.control_planes,
            "size": size,
            "kubernetesVersion": None if spec.kubernetes_version is None else str(spec.kubernetes_version),
            "artifacts": spec.artifacts,
            "options": dict(spec.options),
        },
    }
    if record.leaving:
        content["leaving"] = record.leaving
    if record.deleting:
        content["deleting"] = True
    return json.dumps(content, indent=2) + "\n"


def decode(text: str) -> Record:
    """The record in ``text``.

    Raises:
        ValueError, KeyError, TypeError, UsageError: it is none, or one of a newer format.
    """
    content = json.loads(text)
    if content["format"] != FORMAT:
        raise ValueError(f"format {content['format']}, this localk8s reads {FORMAT}")
    spec = content["spec"]
    return Record(
        spec=ClusterSpec(
            name=_is(spec["name"], str),
            driver=_is(spec["driver"], str),
            nodes=_is(spec["nodes"], int),
            control_planes=_is(spec["controlPlanes"], int),
            size=_decode_size(spec["size"]),
            kubernetes_version=_decode_version(spec["kubernetesVersion"]),
            artifacts=None if spec["artifacts"] is None else _is(spec["artifacts"], str),
            options={_is(key, str): _is(value, str) for key, value in spec["options"].items()},
        ),
        created=_is(content["created"], bool),
        driver_source=_is(content.get("driverSource", ""), str),
        leaving=_is(content.get("leaving", ""), str),
        deleting=_is(content.get("deleting", False), bool),
    )


def _decode_size(size: Mapping[str, Any]) -> NodeSize:
    return NodeSize(
        cpus=None if size["cpus"] is None else Decimal(_is(size["cpus"], str)),
        memory=None if size["memory"] is None else _is(size["memory"], int),
        disk=None if size["disk"] is None else _is(size["disk"], int),
    )


def _decode_version(text: Any) -> KubernetesVersion | None:
    return None if text is None else parse_kubernetes_version(_is(text, str))


def _is(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value
