"""``stop``, ``delete``, ``pause``, ``unpause`` and ``update-context``."""

from __future__ import annotations

import shutil
import time
from typing import Any

from fake.faults import fault
from fake.out import Out, klog, not_found
from fake.starting import names
from fake.world import World, load, save

SSH = (
    "NewSession: new client: new client: Error creating new native config from ssh using: root:"
    " open $HOME/.ssh/id_rsa: no such file or directory"
)


def stop(world: World, profile: str, positional: list[str], flags: dict[str, str], out: Out) -> int:
    """Switch the machines off."""
    config = world.config(profile)
    if config is None:
        not_found(profile, out)
    wrong = fault(world, "stop")
    machines = names(profile, config)
    if config.get("half"):
        for _ in range(5):
            out.step(0, f'Stopping node "{profile}"  ...', "Stopping")
        advice = "minikube is missing files relating to your guest environment. This can be fixed by running 'minikube delete'"
        out.die(85, "GUEST_SSH_CERT_NOT_FOUND", f"Temporary Error: stop: containers: docker: {SSH}", advice)
    for number, name in enumerate(machines):
        out.step(0, f'Stopping node "{name}"  ...', "Stopping")
        if wrong == "hang in stop":
            time.sleep(600)
        if wrong == "timeout":
            out.die(82, "GUEST_STOP_TIMEOUT", "Unable to stop VM: Maximum number of retries (5) exceeded")
        if wrong != "lies":
            _switch_off(world, name, config, number)
    if wrong != "lies":
        world.stop_servers(profile)
    if flags.get("keep-context-active") != "true":
        contexts = world.read_contexts()
        contexts.pop(profile, None)
        world.write_contexts(contexts, "")
    out.step(2, f"{len(machines)} node{'s' if len(machines) > 1 else ''} stopped.", "Done")
    return 0


def _switch_off(world: World, name: str, config: dict[str, Any], number: int) -> None:
    """A remote machine stays up; only its Kubernetes is stopped."""
    host = "Running" if config["Driver"] == "ssh" else "Stopped"
    plane = "Stopped" if config["Nodes"][number]["ControlPlane"] else "Irrelevant"
    if world.machine(name) is not None:
        world.save_machine(name, {**(world.machine(name) or {}), "host": host, "kubelet": "Stopped", "apiserver": plane})


def delete(world: World, profile: str, positional: list[str], flags: dict[str, str], out: Out) -> int:
    """Remove a profile, as far as the real one does."""
    if flags.get("all") == "true":
        raise SystemExit("the fake never deletes all profiles: they may be somebody else's")
    config = world.config(profile)
    wrong = fault(world, "delete")
    _unset_profile(world)
    if config is None:
        out.error(f'"{profile}" profile does not exist, trying anyways.')
        out.info(f'Removed all traces of the "{profile}" cluster.')
        return 0
    if config["Driver"] in ("none", "ssh"):
        out.info(f"Uninstalling Kubernetes {config['KubernetesConfig']['KubernetesVersion']} using kubeadm ...")
    if (config.get("half") and config["Driver"] == "ssh") or wrong == "fails":
        klog("delete.go:523", f"unpause failed: list paused: crictl list: {SSH}")
        out.error(f'Failed to delete profile(s): error deleting profile "{profile}": failed to delete cluster: {SSH}')
        return 80
    for name in names(profile, config):
        out.step(0, f'Deleting "{name}" in {config["Driver"]} ...', "Deleting")
        if wrong == "host stays":
            out.error("Failed to delete cluster: domain is locked")
            out.step("", f'You may need to manually remove the "{name}" VM from your hypervisor', "Deleting")
        elif wrong != "container stays":
            world.remove_machine(name)
        shutil.rmtree(world.home / "machines" / name, ignore_errors=True)
    world.stop_servers(profile)
    if wrong != "lies":
        shutil.rmtree(world.profile_dir(profile), ignore_errors=True)
    contexts = world.read_contexts()
    if contexts.pop(profile, None):
        world.write_contexts(contexts, "")
    out.info(f'Removed all traces of the "{profile}" cluster.')
    return 0


def _unset_profile(world: World) -> None:
    """Any delete forgets the chosen profile, even another one."""
    file = world.home / "config" / "config.json"
    if content := load(file):
        content.pop("profile", None)
        save(file, content)


def pause(world: World, profile: str, positional: list[str], flags: dict[str, str], out: Out) -> int:
    """Freeze the containers."""
    if world.config(profile) is None:
        not_found(profile, out)
    fault(world, "pause")
    out.step(0, f"Pausing node {profile} ...", "Pausing")
    world.save_machine(profile, {**(world.machine(profile) or {}), "kubelet": "Stopped", "apiserver": "Paused"})
    out.step(1, "Paused 5 containers in: kube-system, kubernetes-dashboard, istio-operator", "Done")
    return 0


def unpause(world: World, profile: str, positional: list[str], flags: dict[str, str], out: Out) -> int:
    """Let them go on."""
    if world.config(profile) is None:
        not_found(profile, out)
    fault(world, "unpause")
    out.step(0, f"Unpausing node {profile} ...", "Unpausing")
    world.save_machine(profile, {**(world.machine(profile) or {}), "kubelet": "Running", "apiserver": "Running"})
    out.step(1, "Unpaused 5 containers in: kube-system, kubernetes-dashboard, istio-operator", "Done")
    return 0


def update_context(world: World, profile: str, positional: list[str], flags: dict[str, str], out: Out) -> int:
    """Write the endpoint again."""
    if world.config(profile) is None:
        not_found(profile, out)
    fault(world, "update-context")
    text = world.kubeconfig.read_text() if world.kubeconfig.exists() else ""
    if text.strip().startswith("["):
        out.die(37, "HOST_KUBECONFIG_UPDATE", "update config: decode data: yaml: did not find expected key")
    if world.kubeconfig_state(profile) == "Configured":
        print(f'! No changes required for the "{profile}" context')
    else:
        world.write_kubeconfig(profile, embed=False)
        out.info(f'"{profile}" context has been updated to point to 127.0.0.1:{world.api_port(profile)}')
    out.info(f'Current context is "{profile}"')
    return 0
