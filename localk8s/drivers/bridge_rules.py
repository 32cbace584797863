"""What a cluster's bridge needs of this host's packet filter, in chains of its own, and of its forwarding.

Packets between machines on one bridge pass the host's FORWARD chain too, where br_netfilter is loaded; with the policy
that Docker sets, they would be dropped. Must not know clusters: bridges and ranges are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from localk8s.drivers.host_routes import links_called
from localk8s.model.errors import PrerequisiteError
from localk8s.model.node import Runner
from localk8s.system.locks import host_wide

_PREFIX = "LOCALK8S-"
_BRIDGES = "lk8"
"""How the names of all bridges begin, whichever driver lays them."""
_HOOKS = (("filter", "FORWARD"), ("nat", "POSTROUTING"))
_MAY_NOT_LOOK = (3, 4)
"""How iptables ends without the right to look; 1 is "no such rule", 2 "no such chain"."""
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
_MEMORY = Path("/run/localk8s")
"""Where it is kept that this host did not forward before the first cluster; a reboot forgets both."""


@dataclass(frozen=True, slots=True)
class BridgeRules:
    """The rules of one bridge."""

    bridge: str
    addresses: IPv4Network
    """Of the machines behind it."""

    @property
    def chain(self) -> str:
        """The name of its chains, one in each table."""
        return f"{_PREFIX}{self.bridge}"

    def rules(self, *, uplink: bool) -> str:
        """The chains for ``iptables-restore``: what the bridge forwards passes; with ``uplink`` it leaves as the host's."""
        lines = ["*filter", f":{self.chain} - [0:0]"]
        lines += [f"-A {self.chain} {side} {self.bridge} -j ACCEPT" for side in ("-i", "-o")]
        lines += ["COMMIT", "*nat", f":{self.chain} - [0:0]"]
        if uplink:
            lines.append(f"-A {self.chain} -s {self.addresses} ! -o {self.bridge} -j MASQUERADE")
        return "\n".join([*lines, "COMMIT"]) + "\n"

    def lay(self, runner: Runner, *, uplink: bool) -> None:
        """Have the chains as they should be, and be led to them before anything else. Idempotent.

        Args:
            runner: runs commands on this host.
            uplink: whether the host leads anywhere; then it forwards, too.
        """
        runner.run(["iptables-restore", "-w", "--noflush"], input=self.rules(uplink=uplink))
        for table, hook in _HOOKS:
            if runner.run(["iptables", "-w", "-t", table, "-C", hook, "-j", self.chain], check=False).returncode != 0:
                runner.run(["iptables", "-w", "-t", table, "-I", hook, "-j", self.chain])
        if uplink:
            with host_wide():
                _forward(runner)

    def are_there(self, runner: Runner) -> bool:
        """Whether packets from and to the bridge are led to its chain; True where this process may not look."""
        try:
            done = runner.run(["iptables", "-w", "-C", "FORWARD", "-j", self.chain], check=False)
        except PrerequisiteError:
            return True
        return done.returncode in (0, *_MAY_NOT_LOOK)


def remove_rules(runner: Runner, bridge: str) -> None:
    """Remove all that names ``bridge``, and let the host forward no more if it did not before. Nothing need be there."""
    chain = f"{_PREFIX}{bridge}"
    for table, _ in _HOOKS:
        listed = runner.run(["iptables", "-w", "-t", table, "-S"], check=False).stdout.splitlines()
        for rule in (line.split() for line in listed):
            if rule[0] == "-A" and rule[1] != chain and {bridge, chain} & set(rule):
                runner.run(["iptables", "-w", "-t", table, "-D", *rule[1:]], check=False)
        if f"-N {chain}" in listed:
            runner.run(["iptables", "-w", "-t", table, "-F", chain], check=False)
            runner.run(["iptables", "-w", "-t", table, "-X", chain], check=False)
    with host_wide():
        _restore_forwarding(runner, bridge)


def _forward(runner: Runner) -> None:
    """Let the host forward; if it did not, remember that, and what its filter looked like."""
    if _FORWARDING.read_text().strip() != "0":
        return
    _MEMORY.mkdir(mode=0o755, exist_ok=True)
    _memory().write_text("\n".join(_others_rules(runner)) + "\n")
    runner.run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])


def _restore_forwarding(runner: Runner, gone: str) -> None:
    """Let the host forward no more, where it did not before the first cluster, the last one is ``gone`` and no other needs it.

    Who made rules since then, such as a docker, relies on the forwarding that it found.
    """
    memory = _memory()
    if not memory.exists() or any(link != gone and "-" in link[:5] for link in links_called(runner, _BRIDGES)):
        return
    before = set(memory.read_text().splitlines())
    memory.unlink()
    if not any(_MEMORY.iterdir()):
        _MEMORY.rmdir()
    if before.issuperset(_others_rules(runner)):
        runner.run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=0"])


def _memory() -> Path:
    """The file for the network that this process is in."""
    return _MEMORY / f"did-not-forward.{Path('/proc/self/ns/net').stat().st_ino}"


def _others_rules(runner: Runner) -> Sequence[str]:
    """The rules of both hooks and the links that are not ours."""
    found = []
    for table, hook in _HOOKS:
        listed = runner.run(["iptables", "-w", "-t", table, "-S", hook], check=False).stdout.splitlines()
        found += [f"{table} {line}" for line in listed if _PREFIX not in line]
    # Not every program that relies on forwarding has rules that iptables shows; most have a link of their own.
    return [*found, *(f"link {name}" for name in links_called(runner, "") if not name.startswith(_BRIDGES))]
