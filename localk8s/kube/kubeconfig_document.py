"""What a kubeconfig says: parsed, rendered, merged, cleared. Pure: text and documents in, text and documents out.

Owns the names and the mark of our entries. Knows no files (``kubeconfig`` does). Comments and keys that we do not know stay.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from localk8s.model.errors import ConfigError
from localk8s.model.names import context_name

MARK = "localk8s.dev"
"""Name of the extension that tells our entries from the user's own."""

SECTIONS = {"clusters": "cluster", "users": "user", "contexts": "context"}
"""The lists of a kubeconfig, and the key under which each entry has its content."""

Document = MutableMapping[str, Any]


@dataclass(frozen=True, slots=True)
class Entries:
    """The three entries of one cluster, each as it stands in its list."""

    name: str
    """What all three are called."""
    by_section: dict[str, dict[str, Any]]


def render(*, name: str, server: str, authority: bytes, certificate: bytes, key: bytes) -> str:
    """A kubeconfig with one context, all three entries called ``name``.

    Args:
        server: URL of the API server.
        authority: its certificate authority, PEM.
        certificate: the client's certificate, PEM.
        key: the client's key, PEM.
    """
    quoted, url = json.dumps(name), json.dumps(server)
    encoded = [base64.b64encode(pem).decode() for pem in (authority, certificate, key)]
    return f"""apiVersion: v1
kind: Config
clusters:
- name: {quoted}
  cluster:
    certificate-authority-data: {encoded[0]}
    server: {url}
contexts:
- name: {quoted}
  context:
    cluster: {quoted}
    user: {quoted}
current-context: {quoted}
users:
- name: {quoted}
  user:
    client-certificate-data: {encoded[1]}
    client-key-data: {encoded[2]}
"""


def rename_for(kubeconfig_text: str, name: str) -> str:
    """The current context of ``kubeconfig_text`` alone, under the names that cluster ``name`` has for users.

    Raises:
        ConfigError: it is no kubeconfig, or has no current context.
    """
    document: Document = {"apiVersion": "v1", "kind": "Config"}
    merge(document, entries_for(kubeconfig_text, name))
    document["current-context"] = context_name(name)
    return dump(document, "")


def entries_for(kubeconfig_text: str, name: str) -> Entries:
    """The current context of a kubeconfig and what it refers to, renamed for cluster ``name`` and marked as ours.

    Raises:
        ConfigError: it is no kubeconfig, or has no current context.
    """
    document = parse(kubeconfig_text, "the cluster's kubeconfig")
    current = document.get("current-context") or ""
    context = _content(document, "contexts", current)
    parts = {
        "clusters": _content(document, "clusters", context.get("cluster")),
        "users": _content(document, "users", context.get("user")),
        "contexts": {**context, "cluster": context_name(name), "user": context_name(name)},
    }
    by_section = {}
    for section, content in parts.items():
        mark = {"name": MARK, "extension": {"cluster": name}}  # one each: one for all would be written as a YAML anchor
        by_section[section] = {"name": context_name(name), SECTIONS[section]: {**_plain(content), "extensions": [mark]}}
    return Entries(context_name(name), by_section)


def parse(text: str, where: str) -> Document:
    """The document in ``text``, its comments kept; an empty text gives a new one.

    Args:
        where: what is parsed, for the error.

    Raises:
        ConfigError: it is no YAML, or no kubeconfig.
    """
    from ruamel.yaml.error import YAMLError

    try:
        loaded = json.loads(text) if _is_json(text) else _yaml(text).load(text)
    except (YAMLError, ValueError, RecursionError) as exc:
        mark = getattr(exc, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise ConfigError(f"{where} is not valid YAML{line}.", details=str(exc)) from exc
    if loaded is None and not _without_comments(text):
        return _yaml(text).map(apiVersion="v1", kind="Config")  # type: ignore[no-any-return]
    trouble = _trouble(loaded)
    if trouble:
        raise ConfigError(f"{where} is not a kubeconfig: {trouble}.")
    return loaded  # type: ignore[no-any-return]


def dump(document: Document, like: str) -> str:
    """``document`` as text, laid out as ``like`` (the text it came from; empty for a new one)."""
    if _is_json(like):
        return json.dumps(document, indent=2 if "\n" in like.strip() else None, ensure_ascii=False) + "\n"
    stream = io.StringIO()
    _yaml(like).dump(document, stream)
    text = stream.getvalue()
    only_comments = like.strip() and not _without_comments(like)
    return f"{like.rstrip()}\n{text}" if only_comments else text


def merge(document: Document, entries: Entries, sections: Sequence[str] = tuple(SECTIONS)) -> bool:
    """Put the entries of those sections in, each in the place of one of that name or at its list's end.

    Returns:
        whether that changed anything.
    """
    changed = False
    for section in sections:
        entry = entries.by_section[section]
        if document.get(section) is None:
            document[section] = []
        found = [index for index, other in enumerate(document[section]) if other.get("name") == entry["name"]]
        if not found:
            document[section].append(entry)
            changed = True
        elif _plain(document[section][found[0]]) != entry:
            document[section][found[0]][SECTIONS[section]] = entry[SECTIONS[section]]
            changed = True
    return changed


def remove(document: Document, name: str) -> bool:
    """Take every entry of that name away that bears our mark.

    Returns:
        whether that changed anything.
    """
    changed = False
    for section in SECTIONS:
        entries = document.get(section) or []
        for index in reversed(range(len(entries))):
            if entries[index].get("name") == name and is_ours(entries[index].get(SECTIONS[section])):
                del entries[index]
                changed = True
    return changed


def holds(document: Document, section: str, name: str) -> bool:
    """Whether the section has an entry of that name, of whomever."""
    return any(entry.get("name") == name for entry in document.get(section) or [])


def is_ours(content: object) -> bool:
    """Whether an entry's content bears our mark."""
    extensions = content.get("extensions") if isinstance(content, MutableMapping) else None
    listed = extensions if isinstance(extensions, list) else []
    return any(isinstance(entry, MutableMapping) and entry.get("name") == MARK for entry in listed)


def _trouble(loaded: object) -> str:
    """Why this is no kubeconfig; empty when it is one."""
    if not isinstance(loaded, MutableMapping):
        return "it holds no mapping at its top"
    for section, key in SECTIONS.items():
        entries = loaded.get(section)
        if entries is not None and not isinstance(entries, list):
            return f"its {section!r} is no list"
        for entry in entries or ():
            if not isinstance(entry, MutableMapping) or not isinstance(entry.get(key), MutableMapping | None):
                return f"its {section!r} holds something that is no {key}"
    if not isinstance(loaded.get("current-context"), str | None):
        return "its 'current-context' is no name"
    return ""


def _content(document: Document, section: str, name: object) -> MutableMapping[str, Any]:
    for entry in document.get(section) or ():
        if name and entry.get("name") == name:
            content: MutableMapping[str, Any] = entry.get(SECTIONS[section]) or {}
            return content
    raise ConfigError(f"The cluster's kubeconfig has no {SECTIONS[section]} {str(name or '')!r}.")


def _plain(value: Any) -> Any:
    """``value`` without what the YAML library hangs on it (comments, styles, anchors)."""
    if isinstance(value, MutableMapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, str) else value


def _is_json(text: str) -> bool:
    """JSON is YAML too, but not every string in it; and it should stay JSON."""
    if not text.lstrip().startswith("{"):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _without_comments(text: str) -> str:
    return "\n".join(_lines(text)).strip()


def _lines(text: str) -> Iterator[str]:
    for line in text.lstrip("\ufeff").splitlines():
        if not line.lstrip().startswith("#") and line.strip() != "---":
            yield line


def _yaml(like: str) -> Any:
    """A parser and emitter that writes as ``like`` is written."""
    from ruamel.yaml import YAML

    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 1 << 20  # never break a line: certificates are long
    yaml.explicit_start = like.startswith("---")
    indented = re.search(r"^(?:clusters|contexts|users):[ \t]*\n( *)- ", like, re.MULTILINE)
    offset = len(indented.group(1)) if indented else 0
    yaml.indent(mapping=2, sequence=offset + 2, offset=offset)
    return yaml
