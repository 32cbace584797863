"""A cluster's kubeconfig: its own file for ``localk8s kubectl``, and its entries in the user's files.

Owns when they are written; how files are locked, merged and cleaned is ``kube.kubeconfig``'s.
"""

from __future__ import annotations

from localk8s.drivers.base import Driver, SupportsOwnership
from localk8s.model.spec import ClusterSpec
from localk8s.system.files import write_atomic
from localk8s.wiring import Installation


def publish(installation: Installation, spec: ClusterSpec, driver: Driver, *, merge: bool) -> None:
    """Write the cluster's own kubeconfig and, with ``merge``, its entries in the user's, as the current context."""
    text = refresh(installation, spec, driver)
    if merge:
        from localk8s.kube.kubeconfig import merge_into_user

        merge_into_user(text, spec.name, switch=True, environment=installation.environment.variables)


def refresh(installation: Installation, spec: ClusterSpec, driver: Driver) -> str:
    """Ask the driver anew, write the cluster's own kubeconfig if it differs, and return it."""
    from localk8s.kube.kubeconfig_document import rename_for

    text = rename_for(driver.kubeconfig(spec), spec.name)
    path = installation.layout.kubeconfig(spec.name)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_atomic(path, text)
    return text


def kept(installation: Installation, spec: ClusterSpec, driver: Driver) -> str:
    """The cluster's own kubeconfig as it was written last; the driver is asked when there is none.

    Raises:
        WrongStateError: another cluster has taken its place.
    """
    if isinstance(driver, SupportsOwnership):
        driver.refuse_replaced(spec)
    path = installation.layout.kubeconfig(spec.name)
    return path.read_text(encoding="utf-8") if path.exists() else refresh(installation, spec, driver)


def withdraw(installation: Installation, name: str) -> None:
    """Remove the cluster's entries from the user's kubeconfig files; there need not be any."""
    from localk8s.kube.kubeconfig import remove_from_user

    remove_from_user(name, installation.environment.variables)
