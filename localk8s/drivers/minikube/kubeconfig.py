"""The private kubeconfig that minikube writes: read, and made to stand alone. Never the user's own file."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

from localk8s.model import hints
from localk8s.model.errors import WrongStateError

_FILES = ("certificate-authority", "client-certificate", "client-key")


def read_kubeconfig(path: Path, profile: str, cluster: str) -> str:
    """The content of ``path`` with certificates and keys embedded, and with the context ``profile`` as the current one.

    Raises:
        WrongStateError: it is not there (yet), is no kubeconfig, or lacks the context.
    """
    hint = hints.command("start", cluster=cluster)
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise WrongStateError(f'Cluster "{cluster}" has no kubeconfig yet.', hint=hint) from None
    except (OSError, UnicodeDecodeError) as exc:
        raise WrongStateError(f'The kubeconfig of cluster "{cluster}" cannot be read ({path}).', hint=hint) from exc
    try:
        return embed(text, profile, path.parent)
    except (ValueError, TypeError, KeyError, AttributeError, OSError) as exc:
        raise WrongStateError(
            f'minikube\'s kubeconfig for cluster "{cluster}" is unusable ({path}).', hint=hint, details=str(exc)
        ) from exc


def embed(text: str, context: str, base: Path) -> str:
    """``text`` with what its entries name as files put into it, and ``context`` as the current context.

    Args:
        base: where relative file names in it begin.

    Raises:
        ValueError, KeyError, TypeError: it is no kubeconfig, or has no such context.
        OSError: a file that it names cannot be read.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    yaml = YAML(typ="safe", pure=True)
    try:
        document = yaml.load(text)
    except YAMLError as exc:
        raise ValueError(str(exc)) from exc
    if context not in [entry["name"] for entry in document["contexts"]]:
        raise KeyError(f"no context {context}")
    document["current-context"] = context
    for content in _contents(document):
        for key in _FILES:
            if named := content.pop(key, None):
                content[f"{key}-data"] = base64.b64encode((base / str(named)).read_bytes()).decode()
    yaml.default_flow_style = False
    stream = io.StringIO()
    yaml.dump(document, stream)
    return stream.getvalue()


def _contents(document: MutableMapping[str, Any]) -> Iterator[MutableMapping[str, Any]]:
    for section, key in (("clusters", "cluster"), ("users", "user")):
        for entry in document[section]:
            yield entry[key]
