"""``node``: list, add, delete, stop, start.

Adding one to the none driver says that it cannot, goes on, and destroys the cluster.
"""

from __future__ import annotations

import sys
from typing import Any

from fake.faults import fault
from fake.out import BOX, Out, klog, not_found
from fake.starting import names
from fake.world import World


def node(world: World, profile: str, positional: list[str], flags: dict[str, str], out: Out) -> int:
    """The sub-command."""
    config = world.config(profile)
    if config is None:
        not_found(profile, out)
    action = positional[0] if positional else ""
    if action == "list":
        for entry, name in zip(config["Nodes"], names(profile, config), strict=True):
            print(f"{name}\t{entry['IP']}")
        return 0
    if action == "add":
        return _add(world, profile, config, flags)
    if action == "delete":
        return _delete(world, profile, config, positional[1])
    if action in ("stop", "start"):
        return _switch(world, profile, config, action, positional[1])
    print(f'Error: unknown command "{action}" for "minikube node"', file=sys.stderr)
    return 14


def _add(world: World, profile: str, config: dict[str, Any], flags: dict[str, str]) -> int:
    wrong = fault(world, "node add")
    number = max([int(entry["Name"].removeprefix("m") or 1) for entry in config["Nodes"]]) + 1
    name, first = f"m{number:02d}", config["Nodes"][0]
    print(f"* Adding node {name} to cluster {profile} as [worker]")
    if config["Driver"] == "none":
        print("X none driver does not support multi-node clusters", file=sys.stderr)
    base = first["IP"].rpartition(".")[0]
    address = first["IP"] if config["Driver"] in ("none", "ssh") else f"{base}.{number + 1}"
    entry = {**first, "Name": name, "IP": address, "Port": 0, "ControlPlane": False}
    if wrong == "lies":
        return 0
    if config["Driver"] in ("none", "ssh") or wrong == "fails":
        config["Nodes"].append(entry)
        world.save_config(profile, config)
        for machine in names(profile, config):
            world.save_machine(machine, {"host": "Stopped", "kubelet": "Stopped", "apiserver": "Stopped"})
        world.stop_servers(profile)
        join = (
            f"kubeadm join: sudo kubeadm join {first['IP']}:8443 --token ng1eb6.gc371lnhl5p8srgl --node-name={profile}-{name}"
        )
        klog("linux_provisioner.go:51", f"worker node failed to join cluster, will retry: {join}")
        print(f"\nX Exiting due to GUEST_NODE_ADD: failed to add node: {join}: exit status 1\n* \n{BOX}", file=sys.stderr)
        return 80
    if len(config["Nodes"]) == 1:
        config["Memory"] = 3072  # rewritten when the first node is added
        config["MultiNodeRequested"] = True
    config["Nodes"].append(entry)
    world.save_config(profile, config)
    machine = f"{profile}-{name}"
    world.make_machine(machine, user="docker", port=config["SSHPort"], address=address)
    world.save_machine(
        machine, {"host": "Running", "kubelet": "Running", "apiserver": "Irrelevant", "driver": config["Driver"]}
    )
    print(f"* Successfully added {name} to {profile}!")
    return 0


def _delete(world: World, profile: str, config: dict[str, Any], name: str) -> int:
    wrong = fault(world, "node delete")
    known = {entry["Name"]: machine for entry, machine in zip(config["Nodes"], names(profile, config), strict=True)}
    machine = known.get(name) or next((machine for machine in known.values() if machine == name), None)
    if machine is None:
        print(f"\nX Exiting due to GUEST_NODE_DELETE: deleting node: retrieve: Could not find node {name}", file=sys.stderr)
        return 80
    if wrong != "lies":
        config["Nodes"] = [entry for entry in config["Nodes"] if known[entry["Name"]] != machine]
        world.save_config(profile, config)
        world.remove_machine(machine)
    print(f"* Node {name} was successfully deleted.")
    return 0


def _switch(world: World, profile: str, config: dict[str, Any], action: str, name: str) -> int:
    """One machine off or on; the components of one that is off are told as stopped."""
    wrong = fault(world, f"node {action}")
    known = {machine: entry for entry, machine in zip(config["Nodes"], names(profile, config), strict=True)}
    machine = next((each for each, entry in known.items() if name in (each, entry["Name"])), None)
    if machine is None:
        print(f"\nX Exiting due to GUEST_NODE_RETRIEVE: retrieving node: Could not find node {name}", file=sys.stderr)
        return 80
    word = "Running" if action == "start" else "Stopped"
    if wrong != "lies":
        server = "Irrelevant" if not known[machine]["ControlPlane"] else word
        world.save_machine(machine, {**(world.machine(machine) or {}), "host": word, "kubelet": word, "apiserver": server})
    done = "Successfully started node" if action == "start" else "Successfully stopped node"
    print(f"* {done} {machine}!")
    return 0
