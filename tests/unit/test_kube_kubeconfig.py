"""kind's scenarios for kubeconfig files, replayed, and what a user must never lose."""

from __future__ import annotations

import json
import os
import stat
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from localk8s.kube import kubeconfig_document as documents
from localk8s.kube.kubeconfig import current_context, merge_into_user, remove_from_user, rename_for, render, user_files
from localk8s.kube.kubeconfig_lock import locked
from localk8s.model.errors import ConfigError, Localk8sError, WrongStateError

OURS = render(name="x", server="https://10.83.0.10:6443", authority=b"CA", certificate=b"CERT", key=b"KEY")

OTHERS = """\
# my clusters, do not touch
apiVersion: v1
kind: Config
clusters:
- cluster:
    server: https://prod.example.com  # the real one
    certificate-authority-data: "QUJD"
    x-vendor: {a: [1, 2]}
  name: prod
contexts:
- context:
    cluster: prod
    user: me
    namespace: web
  name: prod
# what is used by default
current-context: prod
preferences: {colors: true}
users:
- name: me
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: login
      args: ["--now", 'no', 22:22]
x-top: kept
"""


def load(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path.read_text())


def names(document: Any, section: str) -> list[str]:
    return [entry["name"] for entry in document[section] or []]


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path)}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / ".kube" / "config"
    path.parent.mkdir()
    return path


def merge(environment: dict[str, str], name: str = "default", *, switch: bool = True) -> Path:
    return merge_into_user(OURS, name, switch=switch, environment=environment, timeout=0.2)


def test_into_nothing_makes_the_file_and_its_directory(home: dict[str, str], tmp_path: Path) -> None:
    path = merge(home)
    assert path == tmp_path / ".kube" / "config"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    document = load(path)
    assert document["current-context"] == "localk8s-default"
    assert document["apiVersion"] == "v1" and document["kind"] == "Config"
    (context,) = document["contexts"]
    assert context["context"]["cluster"] == context["context"]["user"] == context["name"] == "localk8s-default"
    assert context["context"]["extensions"] == [{"name": "localk8s.dev", "extension": {"cluster": "default"}}]
    assert document["clusters"][0]["cluster"]["server"] == "https://10.83.0.10:6443"
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["config"]


@pytest.mark.parametrize(
    "empty", ["", "\n\n", "apiVersion: v1\nkind: Config\n", "clusters: null\ncontexts: null\nusers: null\n"]
)
def test_into_an_empty_file(home: dict[str, str], config: Path, empty: str) -> None:
    config.write_text(empty)
    merge(home)
    assert names(load(config), "users") == ["localk8s-default"]


def test_comments_of_an_otherwise_empty_file_stay(home: dict[str, str], config: Path) -> None:
    config.write_text("# nothing yet\n")
    merge(home)
    assert config.read_text().startswith("# nothing yet\napiVersion: v1\n")


def test_everything_of_others_is_kept(home: dict[str, str], config: Path) -> None:
    config.write_text(OTHERS)
    merge(home)
    text, document = config.read_text(), load(config)
    for line in ("# my clusters, do not touch", "# the real one", "# what is used by default", 'data: "QUJD"'):
        assert line in text
    assert "args: [\"--now\", 'no', 22:22]" in text
    assert names(document, "clusters") == ["prod", "localk8s-default"]
    assert document["x-top"] == "kept" and document["preferences"] == {"colors": True}
    assert document["current-context"] == "localk8s-default"
    assert (config.parent / "config.localk8s.bak").read_text() == OTHERS
    assert stat.S_IMODE((config.parent / "config.localk8s.bak").stat().st_mode) == 0o600


def test_merge_then_remove_gives_the_same_bytes(home: dict[str, str], config: Path) -> None:
    config.write_text(OTHERS)
    merge(home, switch=False)
    assert remove_from_user("default", home) == (config,)
    assert config.read_text() == OTHERS


def test_indented_lists_and_json_keep_their_layout(home: dict[str, str], config: Path) -> None:
    indented = "clusters:\n    - cluster:\n        server: https://a\n      name: a\ncontexts: []\nusers: []\n"
    config.write_text(indented)
    merge(home, switch=False)
    assert "\n    - cluster:\n" in config.read_text()
    remove_from_user("default", home)
    assert load(config)["clusters"] == [{"cluster": {"server": "https://a"}, "name": "a"}]
    config.write_text(json.dumps({"clusters": [{"name": "a", "cluster": {}}], "contexts": [], "users": []}))
    merge(home)
    assert names(json.loads(config.read_text()), "clusters") == ["a", "localk8s-default"]


def test_no_switch_keeps_the_current_context(home: dict[str, str], config: Path) -> None:
    config.write_text(OTHERS)
    merge(home, switch=False)
    assert load(config)["current-context"] == "prod"
    assert current_context(home) == "prod"


def test_again_changes_nothing_and_a_new_certificate_replaces(home: dict[str, str], config: Path) -> None:
    config.write_text(OTHERS)
    merge(home)
    before = config.stat().st_ino
    merge(home)
    assert config.stat().st_ino == before
    renewed = render(name="y", server="https://10.83.0.10:6443", authority=b"CA", certificate=b"NEW", key=b"NEW")
    merge_into_user(renewed, "default", switch=True, environment=home)
    users = load(config)["users"]
    assert [user["name"] for user in users] == ["me", "localk8s-default"]
    assert users[1]["user"]["client-certificate-data"] == "TkVX"


def test_remove_clears_the_current_context_only_if_it_was_ours(home: dict[str, str], config: Path) -> None:
    merge(home, "one")
    merge(home, "two")
    remove_from_user("one", home)
    assert load(config)["current-context"] == "localk8s-two"
    remove_from_user("two", home)
    document = load(config)
    assert document["current-context"] == ""
    assert document["clusters"] == document["contexts"] == document["users"] == []


def test_the_kept_copy_loses_the_entries_too(home: dict[str, str], config: Path) -> None:
    config.write_text(OTHERS)
    merge(home, "one")
    merge(home, "two")
    copy = config.parent / "config.localk8s.bak"
    assert "localk8s-one" in copy.read_text()
    remove_from_user("one", home)
    assert "localk8s" not in copy.read_text()
    assert names(load(copy), "users") == names(load(config), "users")[:-1]
    copy.write_text("localk8s-two: [damaged")
    remove_from_user("two", home)
    assert copy.read_text() == "localk8s-two: [damaged"


def test_remove_what_is_not_there_touches_nothing(home: dict[str, str], config: Path) -> None:
    assert remove_from_user("default", home) == ()
    assert not config.exists()
    config.write_text(OTHERS)
    before = config.stat()
    assert remove_from_user("default", home) == ()
    assert config.stat() == before
    assert not (config.parent / "config.localk8s.bak").exists()


def test_an_entry_of_our_name_that_is_not_ours_stays(home: dict[str, str], config: Path) -> None:
    config.write_text(
        "contexts:\n- name: localk8s-default\n  context: {cluster: a, user: b}\ncurrent-context: localk8s-default\n"
    )
    before = config.read_text()
    assert remove_from_user("default", home) == ()
    assert config.read_text() == before


def test_list_of_files_the_first_that_exists_gets_new_entries(tmp_path: Path) -> None:
    first, second, third = (tmp_path / name for name in ("a", "b", "c"))
    environment = {"KUBECONFIG": os.pathsep.join(["", str(first), str(second), str(second), str(third), ""])}
    assert user_files(environment) == (first, second, third)
    second.write_text(OTHERS)
    third.write_text("")
    assert merge(environment) == second
    assert not first.exists() and third.read_text() == ""
    assert load(second)["current-context"] == "localk8s-default"


def test_list_of_files_the_last_is_made_when_none_exists(tmp_path: Path) -> None:
    environment = {"KUBECONFIG": f"{tmp_path / 'a'}{os.pathsep}{tmp_path / 'd' / 'b'}"}
    assert merge(environment) == tmp_path / "d" / "b"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d"]


def test_list_of_files_an_entry_is_changed_where_it_is(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    merge({"KUBECONFIG": str(second)})
    first.write_text("apiVersion: v1\ncurrent-context: prod\n")
    both = {"KUBECONFIG": f"{first}{os.pathsep}{second}"}
    renewed = render(name="y", server="https://elsewhere:6443", authority=b"CA", certificate=b"NEW", key=b"NEW")
    merge_into_user(renewed, "default", switch=True, environment=both)
    assert load(second)["clusters"][0]["cluster"]["server"] == "https://elsewhere:6443"
    assert load(first) == {"apiVersion": "v1", "current-context": "localk8s-default"}
    assert current_context(both) == "localk8s-default"
    assert remove_from_user("default", both) == (first, second)
    assert load(second)["contexts"] == [] and current_context(both) == ""


def test_entries_go_from_every_file(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for path in (first, second):
        merge({"KUBECONFIG": str(path)})
    remove_from_user("default", {"KUBECONFIG": f"{first}{os.pathsep}{second}"})
    assert load(first)["contexts"] == load(second)["contexts"] == []


def test_a_symbolic_link_is_followed(home: dict[str, str], config: Path, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles" / "kubeconfig"
    real.parent.mkdir()
    real.write_text(OTHERS)
    config.symlink_to(real)
    merge(home)
    assert config.is_symlink()
    assert names(load(real), "clusters") == ["prod", "localk8s-default"]
    assert (real.parent / "kubeconfig.localk8s.bak").read_text() == OTHERS


def test_a_dangling_symbolic_link_gets_its_file(home: dict[str, str], config: Path, tmp_path: Path) -> None:
    config.symlink_to(tmp_path / "later" / "kubeconfig")
    merge(home)
    assert config.is_symlink() and names(load(config), "clusters") == ["localk8s-default"]


@pytest.mark.parametrize(
    "broken",
    [
        b"clusters: [",
        b"\tclusters: []",
        b"- a\n- b\n",
        b"null\n",
        b"42",
        b"just words",
        b"clusters: {a: b}",
        b"clusters:\n- 7\n",
        b"contexts:\n- name: a\n  context: [1]\n",
        b"current-context: [a]\n",
        b"a: 1\n---\nb: 2\n",
        b"a: 1\na: 2\n",
        b"\xff\xfe\x00binary",
        b"a: &x [*x]\n? {\n",
    ],
)
def test_a_broken_file_is_one_clear_error_and_stays_as_it_is(home: dict[str, str], config: Path, broken: bytes) -> None:
    config.write_bytes(broken)
    with pytest.raises(ConfigError) as caught:
        merge(home)
    assert str(config) in caught.value.message and "\n" not in caught.value.message
    assert caught.value.hint == f"mv {config} {config}.broken"
    assert config.read_bytes() == broken
    assert sorted(path.name for path in config.parent.iterdir()) == ["config"]


def test_a_directory_in_its_place(home: dict[str, str], config: Path) -> None:
    config.mkdir()
    with pytest.raises(ConfigError, match="Is a directory") as caught:
        merge(home)
    assert "KUBECONFIG" in caught.value.hint


def test_a_file_where_the_directory_should_be(home: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / ".kube").write_text("")
    with pytest.raises(ConfigError):
        merge(home)


def test_one_broken_file_does_not_keep_the_others_from_being_cleared(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    merge({"KUBECONFIG": str(good)})
    bad.write_text("localk8s-default: [")
    with pytest.raises(ConfigError, match="bad"):
        remove_from_user("default", {"KUBECONFIG": f"{bad}{os.pathsep}{good}"})
    assert load(good)["contexts"] == []
    assert bad.read_text() == "localk8s-default: ["


def test_a_lock_of_another_program_is_waited_for(home: dict[str, str], config: Path) -> None:
    lock = config.with_name("config.lock")
    os.close(os.open(lock, os.O_CREAT | os.O_EXCL, 0))  # as client-go makes it
    threading.Timer(0.1, lock.unlink).start()
    merge_into_user(OURS, "default", switch=True, environment=home, timeout=5)
    assert config.exists() and not lock.exists()


def test_a_lock_that_is_never_let_go_is_named(home: dict[str, str], config: Path) -> None:
    lock = config.with_name("config.lock")
    os.close(os.open(lock, os.O_CREAT | os.O_EXCL, 0))
    with pytest.raises(WrongStateError, match=r"config\.lock") as caught:
        merge(home)
    assert caught.value.hint == f"rm -f {lock}"
    assert lock.exists() and not config.exists()


def test_a_lock_left_by_a_killed_localk8s_is_taken_over(home: dict[str, str], config: Path) -> None:
    lock = config.with_name("config.lock")
    lock.write_text("localk8s 4194305\n")
    merge(home)
    assert config.exists() and not lock.exists()


def test_a_lock_held_by_a_living_localk8s_is_respected(home: dict[str, str], config: Path) -> None:
    with locked([config], needed=[config]), pytest.raises(WrongStateError):
        merge(home)
    merge(home)
    assert not config.with_name("config.lock").exists()


def test_rename_keeps_what_belongs_to_the_context_and_nothing_else() -> None:
    both = YAML(typ="safe", pure=True).load(rename_for(OTHERS, "a"))
    assert both["current-context"] == "localk8s-a"
    assert names(both, "clusters") == names(both, "contexts") == names(both, "users") == ["localk8s-a"]
    assert both["contexts"][0]["context"]["namespace"] == "web"
    assert both["users"][0]["user"]["exec"]["command"] == "login"
    assert both["clusters"][0]["cluster"]["x-vendor"] == {"a": [1, 2]}


def test_the_users_own_backup_is_never_written_over(home: dict[str, str], config: Path) -> None:
    config.write_text(OTHERS)
    own = config.with_name("config.bak")
    own.write_text("mine")
    merge(home, "one")
    merge(home, "two")
    remove_from_user("one", home)
    assert own.read_text() == "mine"


_SOMETHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.sampled_from(["localk8s-default", "localk8s.dev", "x"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["name", "extensions", "cluster", "user", "context", "extension", "server"]), inner, max_size=4
        ),
    ),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from([*documents.SECTIONS, "current-context", "extensions", "x"]), _SOMETHING), st.booleans())
def test_any_structure_is_cleared_or_refused_in_one_sentence(theirs: dict[str, Any], as_json: bool) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "config"
        text = json.dumps(theirs) if as_json else documents.dump(theirs, "")
        path.write_text(text)
        for change in (lambda home: remove_from_user("default", home), merge):
            try:
                change({"KUBECONFIG": str(path)})
            except ConfigError as exc:
                assert "\n" not in exc.message
                assert path.read_text() == text


@pytest.mark.parametrize("value", [3, True, "text", {"a": 1}, [1], [{"name": 3}], None])
@pytest.mark.parametrize("section", ["clusters", "users", "contexts"])
def test_extensions_of_any_kind_are_not_ours(home: dict[str, str], config: Path, section: str, value: object) -> None:
    entry = {"name": "localk8s-default", documents.SECTIONS[section]: {"extensions": value}}
    config.write_text(json.dumps({section: [entry]}))
    assert remove_from_user("default", home) == ()


@pytest.mark.parametrize("text", ["", "{}", "current-context: a\n", "[", "current-context: a\ncontexts:\n- name: a\n"])
def test_rename_of_what_is_no_kubeconfig(text: str) -> None:
    with pytest.raises(ConfigError):
        rename_for(text, "a")


words = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff\u2028\u2029"), max_size=12)
contents = st.dictionaries(
    words, st.one_of(words, st.booleans(), st.integers(), st.lists(words, max_size=2), st.none()), max_size=3
)


@st.composite
def foreign(draw: st.DrawFn) -> dict[str, Any]:
    document: dict[str, Any] = draw(contents)
    for section, key in documents.SECTIONS.items():
        entries = [{"name": name, key: draw(contents)} for name in draw(st.lists(words, max_size=3, unique=True))]
        document[section] = draw(st.sampled_from([entries, entries or None]))
    document["current-context"] = draw(words)
    return document


@settings(max_examples=60, deadline=None)
@given(foreign(), st.booleans())
def test_others_entries_survive_a_merge_and_a_removal(theirs: dict[str, Any], as_json: bool) -> None:
    text = json.dumps(theirs) if as_json else documents.dump(theirs, "")
    document = documents.parse(text, "it")
    documents.merge(document, documents.entries_for(OURS, "default"))
    merged = documents.dump(document, text)
    again = documents.parse(merged, "it")
    assert documents.holds(again, "users", "localk8s-default")
    documents.remove(again, "localk8s-default")
    left = YAML(typ="safe", pure=True).load(documents.dump(again, merged))
    assert left == {**theirs, **{section: theirs[section] or [] for section in documents.SECTIONS}}


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.text(max_size=60), st.text("[]{}:,-&*!|>'\"%@`# \n\tab1", max_size=40)))
def test_any_text_is_parsed_or_refused_in_one_sentence(text: str) -> None:
    try:
        documents.parse(text, "it")
    except Localk8sError as exc:
        assert isinstance(exc, ConfigError) and "\n" not in exc.message
