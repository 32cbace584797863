"""Flags as the real program takes them: those of each command, long and short, and exit 14 for any other."""

from __future__ import annotations

START_VALUES = [
    "addons",
    "apiserver-ips",
    "apiserver-name",
    "apiserver-names",
    "apiserver-port",
    "auto-pause-interval",
    "base-image",
    "binary-mirror",
    "cert-expiration",
    "cni",
    "container-runtime",
    "cpus",
    "cri-socket",
    "disk-size",
    "dns-domain",
    "docker-env",
    "docker-opt",
    "driver",
    "extra-config",
    "extra-disks",
    "feature-gates",
    "gpus",
    "host-only-cidr",
    "host-only-nic-type",
    "hyperkit-vpnkit-sock",
    "hyperkit-vsock-ports",
    "hyperv-external-adapter",
    "hyperv-virtual-switch",
    "image-mirror-country",
    "image-repository",
    "insecure-registry",
    "iso-url",
    "kubernetes-version",
    "kvm-network",
    "kvm-numa-count",
    "kvm-qemu-uri",
    "listen-address",
    "memory",
    "mount-string",
    "namespace",
    "nat-nic-type",
    "network",
    "network-plugin",
    "nfs-share",
    "nfs-shares-root",
    "nodes",
    "output",
    "ports",
    "preload-source",
    "qemu-firmware-path",
    "registry-mirror",
    "service-cluster-ip-range",
    "socket-vmnet-client-path",
    "socket-vmnet-path",
    "ssh-ip-address",
    "ssh-key",
    "ssh-port",
    "ssh-user",
    "static-ip",
    "subnet",
    "trace",
    "uuid",
    "vm-driver",
    "wait",
    "wait-timeout",
]
START_SWITCHES = [
    "auto-update-drivers",
    "cache-images",
    "delete-on-failure",
    "disable-coredns-log",
    "disable-driver-mounts",
    "disable-metrics",
    "disable-optimizations",
    "dns-proxy",
    "download-only",
    "dry-run",
    "embed-certs",
    "enable-default-cni",
    "force",
    "force-systemd",
    "ha",
    "host-dns-resolver",
    "hyperv-use-external-switch",
    "install-addons",
    "interactive",
    "keep-context",
    "kvm-gpu",
    "kvm-hidden",
    "mount",
    "native-ssh",
    "no-kubernetes",
    "no-vtx-check",
    "preload",
    "rosetta",
    "vm",
]

GLOBAL_VALUES = ["profile", "user", "bootstrapper", "v", "vmodule", "log_dir", "log_file", "stderrthreshold"]
GLOBAL_SWITCHES = ["alsologtostderr", "logtostderr", "rootless", "skip-audit", "help"]
GLOBAL_SHORT = {"p": "profile", "b": "bootstrapper", "h": "help", "v": "v"}

COMMANDS: dict[str, tuple[list[str], list[str], dict[str, str]]] = {
    "start": (START_VALUES, START_SWITCHES, {"o": "output", "n": "nodes", "m": "memory", "d": "driver"}),
    "status": (["output", "format", "layout", "node"], [], {"o": "output", "f": "format", "l": "layout", "n": "node"}),
    "stop": (["output", "schedule"], ["all", "keep-context-active", "cancel-scheduled"], {"o": "output"}),
    "delete": (["output"], ["all", "purge"], {"o": "output"}),
    "pause": (["output", "namespaces"], ["all-namespaces"], {"o": "output", "n": "namespaces", "A": "all-namespaces"}),
    "unpause": (["output", "namespaces"], ["all-namespaces"], {"o": "output", "n": "namespaces", "A": "all-namespaces"}),
    "version": (["output"], ["short", "components"], {"o": "output"}),
    "profile": (["output"], ["light"], {"o": "output", "l": "light"}),
    "ip": (["node"], [], {"n": "node"}),
    "node": (["output"], ["worker", "control-plane", "delete-on-failure", "force"], {"o": "output"}),
    "ssh-key": (["node"], [], {"n": "node"}),
    "config": (["output", "format"], [], {"o": "output"}),
    "docker-env": (["shell", "output"], ["unset", "no-proxy", "ssh-host", "ssh-add", "quiet"], {"u": "unset", "o": "output"}),
    "image": (
        ["format", "tag", "file", "build-env", "build-opt", "node"],
        ["daemon", "remote", "overwrite", "pull", "push", "all"],
        {"t": "tag", "f": "file", "n": "node"},
    ),
    "mount": (["9p-version", "gid", "ip", "mode", "msize", "options", "port", "type", "uid"], ["kill"], {}),
    "dashboard": (["port"], ["url"], {}),
    "update-context": ([], [], {}),
    "logs": (["length", "node", "file"], ["follow", "problems", "last-start-only", "audit"], {"n": "length", "f": "follow"}),
}


class UsageTroubleError(Exception):
    """The line that cobra prints before it exits with 14."""


def parse(argv: list[str]) -> tuple[str, list[str], dict[str, str]]:
    """Command, positional arguments and flags (by long name; switches are ``true`` or ``false``)."""
    if not argv or argv[0].startswith("-"):
        raise UsageTroubleError("a command is expected first")
    command, rest = argv[0], argv[1:]
    if command not in COMMANDS:
        raise UsageTroubleError(f'unknown command "{command}" for "minikube"')
    values, switches, short = COMMANDS[command]
    positional: list[str] = []
    flags: dict[str, str] = {}
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word == "-":
            positional.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if not word.startswith("--"):
            letter, tail = word[1], word[2:]
            name = {**GLOBAL_SHORT, **short}.get(letter, letter)
            equals, value = ("=", tail.removeprefix("=")) if tail else ("", "")
        if name in values or name in GLOBAL_VALUES:
            if not equals:
                if not rest:
                    raise UsageTroubleError(f"flag needs an argument: --{name}")
                value = rest.pop(0)
            flags[name] = value
        elif name in switches or name in GLOBAL_SWITCHES:
            if equals and value not in ("true", "false"):
                raise UsageTroubleError(
                    f'invalid argument "{value}" for "--{name}" flag: strconv.ParseBool: parsing "{value}": invalid syntax'
                )
            flags[name] = value if equals else "true"
        else:
            raise UsageTroubleError(f"unknown flag: --{name}")
    return command, positional, flags
