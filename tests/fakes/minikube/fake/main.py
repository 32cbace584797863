"""The fake minikube's front: flags, the record of calls, and which command does what."""

from __future__ import annotations

import os
import sys

from fake import commands, images, nodes, serving, starting, talking
from fake.flags import UsageTroubleError, parse
from fake.out import Out
from fake.world import World

HANDLERS = {
    "start": starting.start,
    "stop": commands.stop,
    "delete": commands.delete,
    "pause": commands.pause,
    "unpause": commands.unpause,
    "status": talking.status,
    "version": talking.version,
    "profile": talking.profile,
    "ip": talking.ip,
    "ssh-key": talking.ssh_key,
    "config": talking.config,
    "docker-env": talking.docker_env,
    "image": images.image,
    "mount": serving.mount,
    "dashboard": serving.dashboard,
    "update-context": commands.update_context,
    "logs": talking.logs,
    "node": nodes.node,
}
AUDITED = ("start", "stop", "delete", "pause", "unpause", "node")


def main(argv: list[str]) -> int:
    """Run one command; returns its exit code."""
    world = World()
    world.record(argv)
    if left := [name for name in os.environ if name.startswith("MINIKUBE_") and os.environ[name] and name not in _KNOWN]:
        print(f"the fake refuses to run with {', '.join(left)}: a flag in disguise", file=sys.stderr)
        return 14
    try:
        command, positional, flags = parse(argv)
    except UsageTroubleError as exc:
        print(f"Error: {exc}\nSee 'minikube {argv[0] if argv else ''} --help' for usage.", file=sys.stderr)
        return 14
    profile = flags.get("profile", "minikube")
    if command in AUDITED:
        world.audit(command, profile, flags.get("user", ""))
    out = Out(command, flags.get("output") == "json")
    return HANDLERS[command](world, profile, positional, flags, out) or 0


_KNOWN = (
    "MINIKUBE_HOME",
    "MINIKUBE_IN_STYLE",
    "MINIKUBE_WANTUPDATENOTIFICATION",
    "MINIKUBE_WANTREPORTERRORPROMPT",
    "MINIKUBE_WANTNONEDRIVERWARNING",
)
