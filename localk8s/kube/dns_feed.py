"""Cluster DNS where CoreDNS's image cannot be had: BIND's named, fed from the Kubernetes API.

``python -m localk8s.kube.dns_feed --help``. One process that runs named as its child, follows services, endpoints and
pods, and writes zones. named answers from the first moment, keeps the last answers while the API is away, and comes back
when it dies. It needs no more than the standard library and the few modules that the DNS image holds.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import queue
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from localk8s.kube.dns_mirror import Connector, Mirror
from localk8s.kube.dns_named import Named, NamedSettings, say
from localk8s.kube.dns_zones import Settings, build_zones, endpoints_of, pod_of, render_zone, service_of, zone_names
from localk8s.model.errors import Localk8sError

_SETTLE = 0.03
"""Seconds in which more changes are waited for, so that they go out together."""
_REST, _LONGEST_REST = 3, 0.2
"""After writing zones, nothing is written for that many times as long, but for so many seconds at most: it bounds what
a busy cluster costs."""
_LOOK = 0.5
"""Seconds between looks after named when nothing else happens (its death is signalled)."""


class Feeder:
    """Follows the API and keeps named's zones.

    Args:
        settings: what the zones are for.
        named_settings: how named is run.
        connector: gives the API client.
        environment: for named.
    """

    def __init__(
        self, settings: Settings, named_settings: NamedSettings, connector: Connector, environment: Mapping[str, str]
    ) -> None:
        self._settings = settings
        self._zones = named_settings.zones
        self._named = Named(named_settings, environment)
        self._news: queue.SimpleQueue[str] = queue.SimpleQueue()  # may be filled by a signal handler
        self._services = Mirror("services", service_of, connector, self._changed)
        self._endpoints = Mirror("endpoints", endpoints_of, connector, self._changed)
        self._pods = Mirror("pods", pod_of, connector, self._changed)
        self._served: dict[str, tuple[str, ...]] = {}
        self._serial = 0
        self._rest_until = 0.0

    def run(self) -> None:
        """Serve until told to stop."""
        mirrors = (self._services, self._endpoints, self._pods)
        empty = build_zones(self._settings, self._zones, (), (), ())
        texts = {zone: render_zone(zone, self._settings, lines, 1) for zone, lines in empty.items()}
        self._serial = max(int(time.time()), self._named.prepare(texts))
        try:
            self._named.ensure()
            for mirror in mirrors:
                mirror.start()
            while (news := self._next(_LOOK)) != "stop":
                self._named.ensure()
                if news != "change" or not all(mirror.synced for mirror in mirrors):
                    continue
                if not self._settle():
                    break
                self._publish()
        finally:
            for mirror in mirrors:
                mirror.stop()
            self._named.stop()

    def stop(self) -> None:
        """Make ``run`` return. May be called from a signal handler or another thread."""
        self._named.abandon()
        self._news.put("stop")

    def wake(self) -> None:
        """Make ``run`` look after named. May be called from a signal handler."""
        self._news.put("look")

    def _changed(self) -> None:
        self._news.put("change")

    def _next(self, timeout: float) -> str:
        try:
            return self._news.get(timeout=max(0.0, timeout))
        except queue.Empty:
            return ""

    def _settle(self) -> bool:
        """Gather what else comes in a moment, and rest if zones were written just now; False when told to stop."""
        deadline = max(time.monotonic() + _SETTLE, self._rest_until)
        while (left := deadline - time.monotonic()) > 0:
            news = self._next(left)
            if news == "stop":
                return False
            if news == "look":
                self._named.ensure()
        return True

    def _publish(self) -> None:
        begin = time.monotonic()
        parts = (self._services.objects(), self._endpoints.objects(), self._pods.objects())
        wanted = build_zones(self._settings, self._zones, *parts)
        changed = [zone for zone in self._zones if self._served.get(zone) != wanted[zone]]
        if not changed:
            return
        if not self._served:
            say(f"serving {sum(map(len, wanted.values()))} records of {len(parts[0])} services and {len(parts[2])} pods")
        self._serial = (self._serial + 1) % (1 << 32)
        texts = {zone: render_zone(zone, self._settings, wanted[zone], self._serial) for zone in changed}
        self._named.serve(texts, self._serial)
        self._served = wanted  # also what was refused: it is tried again when it changes
        end = time.monotonic()
        self._rest_until = end + min(_REST * (end - begin), _LONGEST_REST)


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the feeder until SIGTERM or SIGINT.

    Returns:
        the exit code.
    """
    options = _parser().parse_args(arguments)
    address, _, port = options.listen.rpartition(":")
    networks = tuple(ipaddress.ip_network(text, strict=False) for text in (*options.service_cidr, *options.pod_cidr))
    settings = Settings(options.domain.strip("."), networks, options.announce or environment.get("POD_IP") or address)
    forwarders = tuple(one for one in options.forward if one != address)
    named_settings = NamedSettings(
        program=options.named,
        directory=options.zone_dir.absolute(),
        address=address,
        port=int(port),
        zones=zone_names(settings, root=not forwarders),
        forwarders=forwarders,
    )
    feeder = Feeder(settings, named_settings, Connector(options.kubeconfig, environment), environment)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: feeder.stop())
    signal.signal(signal.SIGCHLD, lambda *_: feeder.wake())
    try:
        feeder.run()
    except Localk8sError as exc:
        say(exc.message)
        return exc.exit_code
    except OSError as exc:
        say(f"cannot go on: {exc}")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dns_feed", description="Cluster DNS: BIND's named, fed from the Kubernetes API.")
    who = parser.add_mutually_exclusive_group()
    who.add_argument("--kubeconfig", type=Path, help="who asks the API")
    who.add_argument("--in-cluster", action="store_true", help="ask as the pod's service account (the default)")
    parser.add_argument("--zone-dir", type=Path, default=Path("/run/named"), help="a directory for named's files alone")
    parser.add_argument("--domain", default="cluster.local", help="the cluster's domain (%(default)s)")
    parser.add_argument("--service-cidr", action="append", default=[], help="range of service addresses; may be repeated")
    parser.add_argument("--pod-cidr", action="append", default=[], help="range of pod addresses; may be repeated")
    parser.add_argument("--named", type=Path, default=Path("/usr/sbin/named"), help="the program (%(default)s)")
    parser.add_argument("--listen", default="0.0.0.0:53", help="ADDRESS:PORT, UDP and TCP (%(default)s)")
    parser.add_argument("--announce", default="", help="the address that clients know this server by; default: --listen's")
    parser.add_argument("--forward", action="append", default=[], help="server for all other names; may be repeated")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
