"""``start``: validations in the order of the real one, its events, what it ignores with a warning, and how it fails."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from typing import Any

from fake.faults import fault
from fake.out import Out
from fake.world import World

KNOWN = ("docker", "podman", "kvm2", "qemu2", "virtualbox", "vmware", "none", "ssh")
NEWEST = (1, 36, 2)
"""The newest Kubernetes that v1.38.1 knows; 1.36.3 wants --force."""
IMAGES = {
    "v1.20.2": (
        "kube-apiserver:v1.20.2",
        "kube-controller-manager:v1.20.2",
        "kube-scheduler:v1.20.2",
        "kube-proxy:v1.20.2",
        "pause:3.2",
        "etcd:3.4.13-0",
        "coredns:1.7.0",
    )
}
"""What a cluster runs, asked for below registry.k8s.io whatever the version, pause by containerd's configuration too."""
PULL = (
    'kubeadm init --config /var/tmp/minikube/kubeadm.yaml": exit status 1\nstdout:\n[init] Using Kubernetes version: v1.20.2\n'
    "[preflight] Pulling images required for setting up a Kubernetes cluster\n\nstderr:\nerror execution phase preflight:"
    " [preflight] Some fatal errors occurred:\n\t[ERROR ImagePull]: failed to pull image k8s.gcr.io/kube-apiserver:v1.20.2:"
    " dial tcp: lookup k8s.gcr.io on 127.0.0.1:53: read: connection refused\n"
)
NONE_NOTICE = """
! The 'none' driver is designed for experts who need to integrate with an existing VM
Most users should use the newer 'docker' driver instead, which does not require root!
For more information, see: https://minikube.sigs.k8s.io/docs/reference/drivers/none/

! kubectl and minikube configuration will be stored in /root
! To use kubectl or minikube commands as your own user, you may need to relocate them. For example, to overwrite your own:

sudo mv $HOME/.kube $HOME/.minikube $HOME
sudo chown -R $USER $HOME/.kube $HOME/.minikube

This can also be done automatically by setting the env var CHANGE_MINIKUBE_NONE_USER=true
"""


def start(world: World, profile: str, positional: list[str], flags: dict[str, str], out: Out) -> int:
    """Bring a profile up."""
    if positional:
        print(f'Error: unknown command "{positional[0]}" for "minikube start"', file=sys.stderr)
        return 14
    existing = world.config(profile)
    force = flags.get("force") == "true"
    wrong = fault(world, "start")
    head = "" if profile == "minikube" else f"[{profile}] "
    out.step(0, f"{head}minikube {world.scenario.get('version', 'v1.38.1')} on Debian 12.15 (lxc/amd64)")
    if force:
        out.warning("minikube skips various validations when --force is supplied; this may lead to unexpected behavior")
    driver = _validate(world, profile, flags, out, existing, force)
    if wrong == "storage":
        out.die(
            26, "RSRC_DOCKER_STORAGE", "Docker is out of disk space! (/var is at 100% of capacity)", "Run docker system prune"
        )
    if flags.get("dry-run") == "true":
        out.info("dry-run validation complete!")
        return 0
    _drift(existing, flags, out)
    config = existing or new_config(profile, driver, flags)
    if existing is None:
        world.save_config(profile, {**config, "Nodes": [{**config["Nodes"][0], "IP": ""}]})
    dead = existing is not None and world.machine(profile) is None
    out.step(3, f'Starting "{profile}" primary control-plane node in "{profile}" cluster')
    if dead and driver == "ssh":
        time.sleep(600)  # it tries the dead machine for more than nine minutes
    if wrong == "provision":
        _provision_fails(world, profile, driver, config, out)
    _slow(wrong, 3)
    _boot(world, profile, driver, config, existing, out, wrong)
    _kubernetes(world, profile, driver, config, out, wrong)
    world.write_kubeconfig(profile, embed=flags.get("embed-certs") == "true")
    out.step(17, "Verifying Kubernetes components...")
    if existing is None:
        _workers(world, profile, config, out)
    if wrong == "kubelet dies":
        world.save_machine(profile, {**(world.machine(profile) or {}), "kubelet": "Stopped", "apiserver": "Running"})
    out.step(18, "Enabled addons: default-storageclass, storage-provisioner")
    out.step(17, "Verifying Kubernetes components...")
    out.step(19, f'Done! kubectl is now configured to use "{profile}" cluster and "default" namespace by default')
    return 0


def _validate(world: World, profile: str, flags: dict[str, str], out: Out, existing: dict[str, Any] | None, force: bool) -> str:
    """The driver, after everything that makes the real one refuse."""

    def refuse(code: int, name: str, message: str) -> None:
        out.failure(code, name, message)
        if not force:
            sys.exit(code)

    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]+", profile):
        world.profile_dir(profile).mkdir(parents=True, exist_ok=True)
        out.warning(f"Profile name '{profile}' is not valid")
        out.die(
            14, "MK_USAGE", "Only alphanumeric and dashes '-' are permitted. Minimum 2 characters, starting with alphanumeric."
        )
    wanted = tuple(int(part) for part in re.findall(r"\d+", flags.get("kubernetes-version", "v1.36.2"))[:3])
    if wanted > NEWEST:
        version = flags["kubernetes-version"].removeprefix("v")
        out.warning(f"Specified Kubernetes version {version} is newer than the newest supported version: v1.36.2.")
        refuse(106, "K8S_NEW_UNSUPPORTED", f"Kubernetes {version} is not supported by this release of minikube")
    minor = int((re.match(r"v1\.(\d+)\.", flags.get("kubernetes-version", "v1.36.2")) or ["", "99"])[1])
    if minor < 28:
        version = flags["kubernetes-version"].removeprefix("v")
        out.warning(f"Specified Kubernetes version {version} is less than the oldest supported version: v1.28.0.")
        refuse(106, "K8S_OLD_UNSUPPORTED", f"Kubernetes {version} is not supported by this release of minikube")
    driver = flags.get("driver") or (existing or {}).get("Driver") or ""
    if existing:
        out.info("Kubernetes 1.36.2 is now available. If you would like to upgrade, specify: --kubernetes-version=v1.36.2")
        if driver != existing["Driver"]:
            message = f'The existing "{profile}" cluster was created using the "{existing["Driver"]}" driver'
            out.die(81, "GUEST_DRIVER_MISMATCH", f'{message}, which is incompatible with requested "{driver}" driver.')
    if not driver:
        out.step(1, "Unable to pick a default driver. Here is what was considered, in preference order:")
        out.die(
            55,
            "DRV_DOCKER_NOT_RUNNING",
            "Found docker, but the docker service isn't running. Try restarting the docker service.",
        )
    if driver not in KNOWN:
        out.die(56, "DRV_UNSUPPORTED_OS", f"The driver '{driver}' is not supported on linux/amd64")
    out.step(1, f"Using the {driver} driver based on {'existing profile' if existing else 'user configuration'}")
    _validate_driver(world, profile, driver, flags, out, refuse)
    return driver


def _validate_driver(world: World, profile: str, driver: str, flags: dict[str, str], out: Out, refuse: Any) -> None:
    if driver == "docker" and world.scenario.get("docker", "ok") != "ok":
        command = '"docker version --format <no value>-<no value>:<no value>" exit status 1'
        message = (
            f"{command}: Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
        )
        out.die(63, "PROVIDER_DOCKER_NOT_RUNNING", message, "Start the Docker service")
    if driver in ("ssh", "docker") and world.scenario.get("root", False):
        out.error(
            f'The "{driver}" driver should not be used with root privileges. If you wish to continue as root, use --force.'
        )
        out.error("If you are running minikube within a VM, consider using --driver=none:")
        refuse(57, "DRV_AS_ROOT", f'The "{driver}" driver should not be used with root privileges.')
    memory, cpus = megabytes(flags.get("memory", "")), int(flags.get("cpus", "2"))
    if memory and memory < 1800:
        refuse(
            23,
            "RSRC_INSUFFICIENT_REQ_MEMORY",
            f"Requested memory allocation {memory}MiB is less than the usable minimum of 1800MB",
        )
    if cpus > world.scenario.get("cpus", 8):
        refuse(29, "RSRC_INSUFFICIENT_CORES", f"Requested cpu count {cpus} is greater than the available cpus of 2")
    if driver == "none":
        _validate_none(profile, flags, out)
    for name, other in other_machines(world, profile):
        if name == profile:
            out.die(14, "MK_USAGE", f'profile "{profile}" conflicts with a machine of profile "{other}"')


def _validate_none(profile: str, flags: dict[str, str], out: Out) -> None:
    for name in ("memory", "cpus"):
        if name in flags:
            out.warning(f"The 'none' driver does not respect the --{name} flag")
    if int(flags.get("nodes", "1")) > 1:
        out.die(51, "DRV_UNSUPPORTED_MULTINODE", "The none driver is not compatible with multi-node clusters.")
    if profile != "minikube":
        out.die(
            56,
            "DRV_UNSUPPORTED_PROFILE",
            "The 'none driver does not support multiple profiles: https://minikube.sigs.k8s.io/",
        )
    if flags.get("container-runtime") == "containerd":
        out.warning("Using the 'containerd' runtime with the 'none' driver is an untested configuration!")


def other_machines(world: World, profile: str) -> list[tuple[str, str]]:
    """Machine names of all other profiles."""
    return [(name, other) for other in world.profiles() if other != profile for name in world.machine_names(other)]


def megabytes(text: str) -> int:
    """``2048mb``, ``3000``, ``40g`` in MB."""
    match = re.fullmatch(r"(\d+)\s*([a-zA-Z]*)", text)
    if not match:
        return 0
    return int(match[1]) * 1024 if match[2].lower().startswith("g") else int(match[1])


def _drift(existing: dict[str, Any] | None, flags: dict[str, str], out: Out) -> None:
    """What is ignored: sizes with a warning, registries without a word. Nothing of it is recorded."""
    if existing is None:
        return
    for flag, key, what in (("memory", "Memory", "memory size"), ("disk-size", "DiskSize", "disk size")):
        if flag in flags and megabytes(flags[flag]) != existing[key]:
            out.warning(f"You cannot change the {what} for an existing minikube cluster. Please first delete the cluster.")
    if "cpus" in flags and int(flags["cpus"]) != existing["CPUs"]:
        out.warning("You cannot change the CPUs for an existing minikube cluster. Please first delete the cluster.")
    if "nodes" in flags and int(flags["nodes"]) != len(existing["Nodes"]):
        out.warning(
            "You cannot change the number of nodes for an existing minikube cluster."
            " Please use 'minikube node add' to add nodes to an existing cluster."
        )


def new_config(profile: str, driver: str, flags: dict[str, str]) -> dict[str, Any]:
    """The configuration of a new profile, as it is recorded."""
    version, runtime = flags.get("kubernetes-version", "v1.36.2"), flags.get("container-runtime", "docker")
    count = max(int(flags.get("nodes", "1")), 3 if flags.get("ha") == "true" else 1)
    planes = 3 if flags.get("ha") == "true" else 1
    base = {"kvm2": "192.168.39", "virtualbox": "192.168.59"}.get(driver, "192.168.49")
    address = flags.get("ssh-ip-address") or "10.55.0.10"
    nodes = [
        {
            "Name": "" if number == 1 else f"m{number:02d}",
            "IP": address if driver in ("none", "ssh") else f"{base}.{number + 1}",
            "Port": 8443 if number <= planes else 0,
            "KubernetesVersion": version,
            "ContainerRuntime": runtime,
            "ControlPlane": number <= planes,
            "Worker": True,
        }
        for number in range(1, count + 1)
    ]
    split = {name: text.split(",") for name in ("registry-mirror", "insecure-registry") if (text := flags.get(name))}
    return {
        "Name": profile,
        "Memory": megabytes(flags.get("memory", "")) or 6000,
        "CPUs": int(flags.get("cpus", "2")),
        "DiskSize": megabytes(flags.get("disk-size", "20000mb")),
        "Driver": driver,
        "InsecureRegistry": split.get("insecure-registry"),
        "RegistryMirror": split.get("registry-mirror", []),
        "APIServerPort": 8443,
        "SSHIPAddress": flags.get("ssh-ip-address", ""),
        "SSHUser": flags.get("ssh-user", "root"),
        "SSHKey": flags.get("ssh-key", ""),
        "SSHPort": int(flags.get("ssh-port", "22")),
        "KubernetesConfig": {
            "KubernetesVersion": version,
            "ClusterName": profile,
            "ContainerRuntime": runtime,
            "ImageRepository": flags.get("image-repository", ""),
            "CNI": flags.get("cni", ""),
            "ServiceCIDR": "10.96.0.0/12",
        },
        "Nodes": nodes,
        "StaticIP": flags.get("static-ip", ""),
        "BinaryMirror": flags.get("binary-mirror", ""),
        "MultiNodeRequested": count > 1,
    }


def _slow(wrong: str, step: int) -> None:
    if wrong == f"hang at {step}":
        (World().root / "hangs").touch()
        time.sleep(600)
    if wrong == f"killed at {step}":
        os.kill(os.getpid(), signal.SIGKILL)


def _provision_fails(world: World, profile: str, driver: str, config: dict[str, Any], out: Out) -> None:
    """The half-made profile: no address, no key, no machine; and ``delete`` will not remove it."""
    half = {**config, "Nodes": [{**config["Nodes"][0], "IP": ""}], "half": True}
    world.save_config(profile, half)
    (world.home / "machines" / profile).mkdir(parents=True, exist_ok=True)
    world.remove_machine(profile)
    out.error(
        "StartHost failed, but will try again: creating host: create: provisioning: Maximum number of retries (10) exceeded"
    )
    message = (
        f'Failed to start {driver} bare metal machine. Running "minikube delete -p {profile}" may fix it: ssh command error:'
    )
    out.error(f"{message}\ncommand : docker --version\nerr     : Process exited with status 137 from signal KILL\noutput  :")
    cause = "error provisioning guest: Failed to start host: creating host: create: provisioning: ssh command error:"
    out.die(80, "GUEST_PROVISION", f"{cause}\ncommand : docker --version\nerr     : Process exited with status 137", box=True)


def _boot(world: World, profile: str, driver: str, config: dict[str, Any], existing: Any, out: Out, wrong: str) -> None:
    running = (world.machine(profile) or {}).get("host") == "Running"
    if existing and running:
        out.step(4, f'Updating the running {driver} "{profile}" machine ...')
    elif driver == "none":
        out.step(6, "Running on localhost (CPUs=2, Memory=24105MB, Disk=258019MB) ...")
    elif driver in ("docker", "podman"):
        _download(world, out)
        out.step(8, f"Creating {driver} container (CPUs={config['CPUs']}, Memory={config['Memory']}MB) ...")
    else:
        _download(world, out)
        out.step(
            9, f"Creating {driver} VM (CPUs={config['CPUs']}, Memory={config['Memory']}MB, Disk={config['DiskSize']}MB) ..."
        )
    _slow(wrong, 8)
    user = config["SSHUser"] if driver == "ssh" else "docker"
    for node, name in zip(config["Nodes"], names(profile, config), strict=True):
        if world.machine(name) is None:
            world.make_machine(name, user=user, port=config["SSHPort"], address=node["IP"])
        elif existing is not None:
            world.save_machine(name, {**(world.machine(name) or {}), "host": "Running"})
    if driver == "none":
        out.step(7, "OS release is Debian GNU/Linux 12 (bookworm)")
        out.warning("Failing to connect to https://registry.k8s.io/ from inside the minikube bare metal machine")
        out.error(
            "To pull new external images, you may need to configure a proxy: https://minikube.sigs.k8s.io/docs/reference/networking/"
        )


def names(profile: str, config: dict[str, Any]) -> list[str]:
    """The machines of a configuration."""
    nodes = config["Nodes"]
    return [profile if not node["Name"] or len(nodes) == 1 else f"{profile}-{node['Name']}" for node in nodes]


def _download(world: World, out: Out) -> None:
    if not out.events:
        return
    for part in ("0", "0.25", "0.1", "+Inf", "0.9", "1"):
        common = {"currentstep": "2", "totalsteps": "19", "artifact": "preload"}
        out.event("download.progress", **common, progress=part)


def _kubernetes(world: World, profile: str, driver: str, config: dict[str, Any], out: Out, wrong: str) -> None:
    version, runtime = config["KubernetesConfig"]["KubernetesVersion"], config["KubernetesConfig"]["ContainerRuntime"]
    out.step(11, f"Preparing Kubernetes {version} on {runtime} 1.6.20 ...")
    world.save_config(profile, config)
    _slow(wrong, 11)
    if wrong == "kubeadm":
        for name in names(profile, config):
            world.save_machine(name, {"host": "Stopped", "kubelet": "Stopped", "apiserver": "Stopped"})
        out.error(f"initialization failed, will try again: wait: {PULL}")
        out.error(f"Error starting cluster: wait: {PULL}")
        out.die(80, "GUEST_START", f"failed to start node: wait: {PULL}", box=True)
    if wrong == "port":
        cause = "[preflight] Some fatal errors occurred:\n\t[ERROR Port-10250]: Port 10250 is in use"
        advice = "kubeadm detected a TCP port conflict with another process. Run lsof -p<port> to find the process and kill it"
        out.die(81, "GUEST_PORT_IN_USE", f"failed to start node: wait: {cause}", advice, box=True)
    if lacking := _missing_images(world, driver, version):
        out.die(80, "GUEST_START", f"failed to start node: wait: {PULL.replace('k8s.gcr.io/kube-apiserver:v1.20.2', lacking)}")
    out.step(12, "Generating certificates and keys ...")
    out.step(13, "Booting up control plane ...")
    if wrong in ("hang at 13", "killed at 13"):
        _run_control_plane(world, profile, driver, config)
        world.save_machine(profile, {**(world.machine(profile) or {}), "incomplete": True})
    _slow(wrong, 13)
    out.step(14, "Configuring RBAC rules ...")
    out.step(15, "Configuring bridge CNI (Container Networking Interface) ...")
    _run_control_plane(world, profile, driver, config)
    if driver == "none":
        out.step(16, "Configuring local host environment ...")
        for line in NONE_NOTICE.splitlines():
            (out.warning if line.startswith("! ") else out.error)(line.removeprefix("! "))


def _missing_images(world: World, driver: str, version: str) -> str:
    """The first image that nobody brought, where the scenario says that there is no network."""
    if world.scenario.get("network") != "none" or driver == "none":
        return ""
    folder = next(iter((world.home / "cache" / "images").glob("*")), world.home) / "registry.k8s.io"
    wanted = IMAGES.get(version, ())
    return next((f"registry.k8s.io/{name}" for name in wanted if not (folder / name.replace(":", "_")).is_file()), "")


def _run_control_plane(world: World, profile: str, driver: str, config: dict[str, Any]) -> None:
    """From here on ``status`` says Running; kube-proxy and DNS come last, and a later start does not bring what is missing."""
    port = world.start_servers(profile)
    for node, name in zip(config["Nodes"], names(profile, config), strict=True):
        plane = "Running" if node["ControlPlane"] else "Irrelevant"
        state = {"host": "Running", "kubelet": "Running", "apiserver": plane, "api_port": port, "driver": driver}
        world.save_machine(name, {**(world.machine(name) or {}), **state})


def _workers(world: World, profile: str, config: dict[str, Any], out: Out) -> None:
    for name in names(profile, config)[1:]:
        out.step("", f'Starting "{name}" worker node in "{profile}" cluster', "Starting Node")
        out.step(3, f'Starting "{name}" worker node in "{profile}" cluster')
        out.step(11, "Preparing Kubernetes ...")
