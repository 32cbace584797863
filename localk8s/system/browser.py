"""The user's browser: opened by who types, also under sudo, where it must not run as root. Owns how privileges are dropped."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from localk8s.system.owner import Owner

_OPENERS = ("xdg-open", "sensible-browser", "x-www-browser", "firefox", "chromium", "google-chrome")
_KEPT = ("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "LANG", "LC_ALL", "BROWSER")
_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games:/snap/bin"
_LIMIT = 10.0


def open_browser(address: str, user: Owner | None, environment: Mapping[str, str]) -> bool:
    """Show ``address``; returns whether something took it.

    Args:
        address: an URL.
        user: whose browser it is; None when it is that of this process's user.
        environment: of this process, for the display.
    """
    if user is None:
        import webbrowser

        return webbrowser.open(address)
    variables = variables_of(user, environment)
    opener = next((found for name in _OPENERS if (found := shutil.which(name, path=_PATH))), None)
    return opener is not None and _opens([opener, address], user, variables)


def variables_of(user: Owner, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of ``user``'s own programs: nothing of root's, and the session that sudo did not keep, if it is there."""
    variables = {name: environment[name] for name in _KEPT if environment.get(name)}
    runtime = Path(variables.setdefault("XDG_RUNTIME_DIR", f"/run/user/{user.uid}"))
    if "WAYLAND_DISPLAY" not in variables and (runtime / "wayland-0").is_socket():
        variables["WAYLAND_DISPLAY"] = "wayland-0"
    if "DBUS_SESSION_BUS_ADDRESS" not in variables and (runtime / "bus").is_socket():
        variables["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={runtime / 'bus'}"
    return {**variables, "HOME": str(user.home), "USER": user.name, "LOGNAME": user.name, "PATH": _PATH}


def _opens(argv: list[str], user: Owner, variables: Mapping[str, str]) -> bool:
    """Run it as ``user``; one that goes on for long is the browser itself."""
    try:
        process = subprocess.Popen(
            argv,
            user=user.uid,
            group=user.gid,
            extra_groups=os.getgrouplist(user.name, user.gid),
            env=dict(variables),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return False
    try:
        return process.wait(_LIMIT) == 0
    except subprocess.TimeoutExpired:
        return True
