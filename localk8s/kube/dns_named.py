"""BIND's named as our servant: its configuration, its zone files, its process.

Owns what named is told and that it runs. It answers for the zones it is given, passes on everything else to the
forwarders or denies it, and talks to nobody else: no root servers, no other name server, no updates from anybody.
Knows nothing of Kubernetes. It is part of the DNS image.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from localk8s.kube.dns_control import Control, reload_zones
from localk8s.kube.dns_query import RecordType, query
from localk8s.model.errors import KubernetesError

_ANSWER_LIMIT = 0.3
"""Seconds that named, on this machine, may take to answer."""
_RELOAD_AGAIN = 0.1
"""Seconds after which a reload that shows no effect is asked for again."""
_TOUCH_AFTER = 3
"""Reloads without effect after which the files are made younger."""
_GIVE_UP = 3.0
"""Seconds after which a named that does not serve what it was given is replaced."""
_RECORD_LIMITS = (9, 18, 28)
"""The version from which on BIND refuses names with more than 100 addresses unless told otherwise."""
_RESTART_PAUSE = 0.1
"""Seconds between the starts of a named that ends at once, and twice as long each time, up to ten times that."""


class NamedSettings(NamedTuple):
    """How named is run."""

    program: Path
    directory: Path
    """For its configuration and zone files; nothing else may be in it."""
    address: str
    """Where it listens; ``0.0.0.0`` for everywhere."""
    port: int
    zones: tuple[str, ...]
    forwarders: tuple[str, ...] = ()
    """Whom it asks about names outside of its zones; none are asked when empty."""

    @property
    def ask(self) -> str:
        """The address at which it can be asked from here."""
        return "127.0.0.1" if self.address == "0.0.0.0" else self.address  # noqa: S104 - compared, not bound


def zone_file(zone: str) -> str:
    """Name of a zone's file."""
    return "root.zone" if zone == "." else f"{zone}.zone"


def render_configuration(settings: NamedSettings, control: Control, version: tuple[int, ...]) -> str:
    """The text of named.conf for that version of BIND; it holds the control channel's secret."""
    listen = "any" if settings.address == "0.0.0.0" else settings.address  # noqa: S104 - compared, not bound
    zones = "\n".join(f'zone "{zone}" {{ type primary; file "{zone_file(zone)}"; }};' for zone in settings.zones)
    if settings.forwarders:
        others = "".join(f" {forwarder};" for forwarder in settings.forwarders)
        outside = f"recursion yes; allow-recursion {{ any; }}; forward only; forwarders {{{others} }};"
    else:
        outside = "recursion no;"
    limits = "max-records-per-type 0; max-types-per-name 0;" if version >= _RECORD_LIMITS else ""
    return f"""options {{
  directory "{settings.directory}";
  pid-file "named.pid";
  session-keyfile none;
  listen-on port {settings.port} {{ {listen}; }};
  listen-on-v6 {{ none; }};
  {outside}
  allow-query {{ any; }};
  allow-transfer {{ none; }};
  notify no;
  minimal-responses no-auth;
  dnssec-validation no;
  trust-anchor-telemetry no;
  empty-zones-enable no;
  check-names primary ignore;
  check-integrity no;
  interface-interval 0;
  automatic-interface-scan no;
  resolver-query-timeout 3000;
  servfail-ttl 0;
  max-cache-size 8M;
  max-ncache-ttl 5;
  zone-statistics none;
  geoip-directory none;
  querylog no;
  {limits}
  version none; hostname none; server-id none;
}};
{control.clauses()}
logging {{
  channel errors {{ stderr; severity error; }};
  category default {{ errors; }};
  category lame-servers {{ null; }};
}};
{zones}
"""


class Named:
    """A named process with its files. Not for several threads at once.

    Args:
        settings: how it is run.
        environment: what it gets.
    """

    def __init__(self, settings: NamedSettings, environment: Mapping[str, str]) -> None:
        self._settings = settings
        self._environment = dict(environment)
        self._control = Control.new()
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._pause = _RESTART_PAUSE
        self._stamp = 0.0
        self._good: dict[str, str] = {}
        self._abandoned = False

    def prepare(self, empty_zones: Mapping[str, str]) -> int:
        """Write the configuration, and those zones that have no file yet; end a named that a killed predecessor left.

        Returns:
            the highest serial number of the zones that are there.
        """
        directory = self._settings.directory
        directory.mkdir(parents=True, exist_ok=True)
        self._end_left_behind()
        for stale in (*directory.glob("*.jnl"), *directory.glob("managed-keys*"), *directory.glob(".*.new")):
            stale.unlink()
        self._write("named.conf", render_configuration(self._settings, self._control, self._version()))
        for zone, text in empty_zones.items():
            if not (directory / zone_file(zone)).exists():
                self._write(zone_file(zone), text)
        return max((_serial_in(directory / zone_file(zone)) for zone in empty_zones), default=0)

    def ensure(self) -> None:
        """Start it if it is not running; not again at once when it has just ended."""
        if self._process is not None:
            if self._process.poll() is None:
                return
            lived = time.monotonic() - self._started
            self._pause = _RESTART_PAUSE if lived > 10 else min(self._pause * 2, 10 * _RESTART_PAUSE)
            if lived < self._pause:
                return
            say(f"named ended with {self._process.returncode}; starting it again")
        self._started = time.monotonic()
        argv = [str(self._settings.program), "-f", "-4", "-n", "1", "-c", str(self._settings.directory / "named.conf")]
        try:
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, env=self._environment)
        except OSError as exc:
            raise KubernetesError(f"{argv[0]} cannot be run: {exc.strerror}.") from exc

    def serve(self, zones: Mapping[str, str], serial: int) -> bool:
        """Write these zones' files, and see to it that named answers from them.

        Args:
            zones: text by zone, each with ``serial`` in it.

        Returns:
            whether it does so now; if not, it answers as before.
        """
        for zone, text in zones.items():
            self._write(zone_file(zone), text)
        if self._takes(zones, serial):
            self._good.update(zones)
            return True
        if self._abandoned:
            return False
        self.stop()  # a clock that was set back can make it blind for new files; a new process looks at all of them
        if self._takes(zones, serial):
            self._good.update(zones)
            return True
        say(f"named does not take {' '.join(zones)}; the answers of before stay")
        for zone in zones:
            if zone in self._good:
                self._write(zone_file(zone), self._good[zone])
        self.stop()
        self.ensure()
        return False

    def abandon(self) -> None:
        """Make ``serve`` return at once from now on. May be called from a signal handler."""
        self._abandoned = True

    def _takes(self, zones: Mapping[str, str], serial: int) -> bool:
        """Whether named comes to serve these zones, reloaded as often as needed."""
        deadline = time.monotonic() + _GIVE_UP
        ask_again, asked = 0.0, 0
        pause = 0.002
        left = list(zones)
        while left:
            self.ensure()
            answer = self._serial(left[0])
            if answer == serial:
                left.pop(0)
                continue
            now = time.monotonic()
            if now > deadline or self._abandoned:
                return False
            if answer is not None and now > ask_again:
                asked += 1
                self._reload(left, touch=asked > _TOUCH_AFTER)
                ask_again = now + _RELOAD_AGAIN * asked
            time.sleep(pause)
            pause = min(pause * 1.5, 0.05)
        return True

    def stop(self) -> None:
        """End it."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _reload(self, zones: Sequence[str], *, touch: bool) -> None:
        for zone in zones if touch else ():
            self._touch(self._settings.directory / zone_file(zone))
        try:
            reload_zones(self._control, zones, timeout=_ANSWER_LIMIT)
        except OSError:
            if self._process is not None and self._process.poll() is None:
                self._process.send_signal(signal.SIGHUP)

    def _serial(self, zone: str) -> int | None:
        """The serial number of the zone that is served; None when named does not answer, -1 when it lacks the zone."""
        try:
            answer = query(self._settings.ask, zone, RecordType.SOA, port=self._settings.port, timeout=_ANSWER_LIMIT)
        except KubernetesError:
            return None
        found = answer.data(RecordType.SOA)
        return int(found[0].split()[2]) if found else -1

    def _write(self, name: str, text: str) -> None:
        """Replace a file in one step; without a sync, since all of them are written anew at each start."""
        new, path = self._settings.directory / f".{name}.new", self._settings.directory / name
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:  # a secret is in one of them
            file.write(text)
        self._touch(new)
        os.replace(new, path)

    def _touch(self, path: Path) -> None:
        """Give the file a time later than any before: named passes over one that is not younger than its last look."""
        self._stamp = max(time.time(), self._stamp + 1e-6)
        os.utime(path, (self._stamp, self._stamp))

    def _version(self) -> tuple[int, ...]:
        try:
            said = subprocess.run(
                [self._settings.program, "-V"], env=self._environment, capture_output=True, text=True, timeout=10, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise KubernetesError(f"{self._settings.program} cannot be run: {exc}.") from exc
        found = re.search(r"BIND (\d+)\.(\d+)\.(\d+)", said.stdout)
        return tuple(int(part) for part in found.groups()) if found else ()

    def _end_left_behind(self) -> None:
        pid_file = self._settings.directory / "named.pid"
        with contextlib.suppress(OSError, ValueError):
            number = int(pid_file.read_text())
            argv = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
            if str(self._settings.directory / "named.conf").encode() in argv:
                os.kill(number, signal.SIGKILL)
        pid_file.unlink(missing_ok=True)


def _serial_in(file: Path) -> int:
    found = re.search(r" SOA \S+ \S+ (\d+) ", file.read_text(errors="replace"))
    return int(found.group(1)) if found else 0


def say(text: str) -> None:
    """One line of log, on standard error."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} dns: {text}\n")
    sys.stderr.flush()
