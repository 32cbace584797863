"""Which package sources are Debian's, and what apt said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localk8s.artifacts.apt import apt_trouble, parse_packages
from localk8s.artifacts.apt_sources import AptSource, debian_sources, render_sources
from localk8s.artifacts.node_root import select_packages
from localk8s.model.errors import ArtifactError, CommandError

STANZAS = """\
Types: deb
# a comment between the fields
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security trixie-security
Components: main
Trusted: yes

Types: deb
Enabled: no
URIs: http://off.example/debian
Suites: bookworm
Components: main

Types: deb
URIs: https://tools.example/apt
Suites: nodistro
Components: main
"""
LINES = """\
# deb http://commented.example/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg trusted=yes] http://mirror.example/debian bookworm main non-free # the mirror
deb-src http://mirror.example/debian bookworm main
deb http://tools.example/apt cloud-sdk-bookworm main
deb http://mirror.example/debian bookworm contrib
deb http://mirror.example/debian
"""


def test_deb822_sources_of_debian_are_taken_and_others_left() -> None:
    found = debian_sources({"debian.sources": STANZAS}, "bookworm")
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    assert found == (
        AptSource(("http://mirror.example/debian",), ("bookworm", "bookworm-updates"), ("main",), keyring),
        AptSource(("http://mirror.example/security",), ("bookworm-security",), ("main",), ""),
    )


def test_one_line_sources_of_debian_are_taken_and_others_left() -> None:
    found = debian_sources({"sources.list": LINES}, "bookworm")
    assert found == (
        AptSource(("http://mirror.example/debian",), ("bookworm",), ("main",), "/k.gpg"),
        AptSource(("http://mirror.example/debian",), ("bookworm",), ("main",), ""),
    )


def test_nothing_is_trusted_that_is_not_signed() -> None:
    rendered = render_sources(debian_sources({"a.sources": STANZAS, "b.list": LINES}, "bookworm"))
    assert "rusted" not in rendered
    assert rendered.count("Types: deb deb-src") == 4


def test_a_whole_key_in_the_stanza_survives() -> None:
    key = "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n -----END PGP PUBLIC KEY BLOCK-----"
    text = f"Types: deb\nURIs: http://m.example/\nSuites: bookworm\nComponents: main\n{key}\n"
    rendered = render_sources(debian_sources({"x.sources": text}, "bookworm"))
    assert key in rendered
    assert debian_sources({"y.sources": rendered}, "bookworm") == debian_sources({"x.sources": text}, "bookworm")


@pytest.mark.parametrize("suite", ["trixie", "forky"])
def test_another_release_is_in_the_same_archives(suite: str) -> None:
    found = debian_sources({"d.sources": STANZAS}, suite)
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    assert found == (
        AptSource(("http://mirror.example/debian",), (suite, f"{suite}-updates"), ("main",), keyring),
        AptSource(("http://mirror.example/security",), (f"{suite}-security",), ("main",), ""),
    )


def test_a_suite_that_is_never_released_has_no_parts() -> None:
    assert [source.suites for source in debian_sources({"d.sources": STANZAS}, "sid")] == [("sid",)]


def test_no_debian_no_sources() -> None:
    ubuntu = "deb http://mirror.example/ubuntu noble main universe\ndeb http://mirror.example/ubuntu noble-security main\n"
    for suite in ("trixie", "bookworm"):
        assert debian_sources({"sources.list": ubuntu, "x.list": "deb http://tools.example/apt nodistro main\n"}, suite) == ()


@given(
    st.text(alphabet=st.sampled_from("deb-src :\n\t#[]='\"ak.main/bookwrm"), max_size=200),
    st.sampled_from(["x.sources", "x.list"]),
)
def test_any_text_is_read_without_an_exception(text: str, name: str) -> None:
    for source in debian_sources({name: text}, "bookworm"):
        assert source.suites and source.uris


SHOWN = """\
Package: libuv1
Version: 1.44.2-1+deb12u1
Section: libs
Size: 135616
SHA256: aa
Description: x

Package: perl-base
Version: 5
Section: perl
Size: 7
SHA256: bb

Package: etcd-server
Version: 3.4.23-4
Section: contrib/net
Size: 9
SHA256: cc

Package: virtual-only
Version: 1
"""


def test_packages_are_read_and_only_what_is_needed_kept() -> None:
    packages = parse_packages(SHOWN)
    assert [(package.name, package.section, package.size) for package in packages] == [
        ("libuv1", "libs", 135616),
        ("perl-base", "perl", 7),
        ("etcd-server", "net", 9),
    ]
    assert [package.name for package in select_packages(packages)] == ["libuv1", "etcd-server"]


@pytest.mark.parametrize(
    ("stderr", "words"),
    [
        ("E: Failed to fetch http://m/x  Temporary failure resolving 'm'", "host name does not resolve"),
        ("E: Failed to fetch http://m/x  Could not connect to m:80", "cannot be reached"),
        ("E: The repository 'http://m bookworm InRelease' is not signed.", "signature"),
        ("E: Failed to fetch http://m/x  Hash Sum mismatch", "not what its signed list says"),
        ("E: Unable to locate package runit", "does not have a package"),
    ],
)
def test_apts_troubles_are_said_in_one_sentence(stderr: str, words: str) -> None:
    error = apt_trouble(CommandError(["apt-get"], 100, "", stderr))
    assert isinstance(error, ArtifactError)
    assert words in error.message
    assert "\n" not in error.message
    assert stderr in error.details


def test_an_unknown_trouble_keeps_apts_own_words() -> None:
    error = CommandError(["apt-get"], 100, "", "E: something new")
    assert apt_trouble(error) is error
