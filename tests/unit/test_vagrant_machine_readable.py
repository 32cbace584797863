"""Vagrant's output as it is: interleaved, with banners in between, escaped, cut off. Nothing makes the parsers fail."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from localk8s.drivers.vagrant.machine_readable import (
    decode,
    error_reason,
    failed_machines,
    machine_states,
    parse_events,
    parse_ssh_config,
    shorten,
)

STATUS = """1700000000,t,metadata,provider,lxc
a banner that somebody prints
1700000000,t-2,provider-name,lxc
1700000000,t,state,running
1700000000,t-2,state,not_created
1700000001,t,state-human-long,The VM is running. To stop it%!(VAGRANT_COMMA) run\\nhalt.
1700000001,,ui,info,Current machine states:\\n\\nt running
"""
PARALLEL = """An error occurred while executing multiple actions in parallel.
Any errors that occurred are shown below.

An error occurred while executing the action on the 't-2'
machine. Please handle this error then try again:

There was an error executing ["/usr/bin/env", "lxc-start", "-d"]

For more information on the failure, enable detailed logging by setting
the environment variable VAGRANT_LOG to DEBUG.

An error occurred while executing the action on the 't-3'
machine. Please handle this error then try again:

Timed out while waiting for the machine to boot.
"""
SSH_CONFIG = """Host t
  HostName 192.168.56.10
  User vagrant
  Port 22
  IdentityFile "/a b/key"
  IdentityFile /second

Host t-2
  HostName 192.168.56.11
  Port 2200
"""


def test_states_of_interleaved_machines() -> None:
    assert machine_states(STATUS) == {"t": "running", "t-2": "not_created"}


def test_an_error_with_commas_is_one_reason() -> None:
    line = "1,,error-exit,Vagrant::Errors::NoEnvironmentError,A Vagrant environment%!(VAGRANT_COMMA) or so\\nis required."
    assert error_reason(line) == "A Vagrant environment, or so\nis required."


def test_escapes_are_decoded() -> None:
    assert decode("a%!(VAGRANT_COMMA)b\\nc\\rd") == "a,b\nc\rd"
    assert [event.data for event in parse_events("1,t,state-human-long,x%!(VAGRANT_COMMA)y\\nz,more")] == [("x,y\nz", "more")]


def test_which_machines_of_a_parallel_boot_failed_and_why() -> None:
    found = failed_machines(PARALLEL)
    assert found["t-2"].startswith("There was an error executing")
    assert found["t-3"] == "Timed out while waiting for the machine to boot."


def test_ssh_config_of_several_machines() -> None:
    hosts = parse_ssh_config(SSH_CONFIG)
    assert set(hosts) == {"t", "t-2"}
    assert hosts["t"].get("hostname") == "192.168.56.10"
    assert [value for option, value in hosts["t"].options if option == "IdentityFile"] == ["/a b/key", "/second"]
    assert hosts["t-2"].get("Port") == "2200" and hosts["t-2"].get("User") == ""


@given(st.text())
def test_any_text_is_taken(text: str) -> None:
    list(parse_events(text))
    machine_states(text)
    error_reason(text)
    failed_machines(text)
    parse_ssh_config(text)
    assert len(shorten(text)) <= 300 and "\n" not in shorten(text)


_PLAIN = st.text(alphabet=st.characters(exclude_characters="\\\n\r", exclude_categories=("Cs",)))


@given(st.lists(st.tuples(st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True), _PLAIN), max_size=5))
def test_what_vagrant_encodes_is_read_back(pairs: list[tuple[str, str]]) -> None:
    encoded = "".join(f"17,{name},state,{text.replace(',', '%!(VAGRANT_COMMA)')}\n" for name, text in pairs)
    wanted = [(name, text) for name, text in pairs if "%!(VAGRANT_COMMA)" not in text]
    found = [(event.target, event.data[0]) for event in parse_events(encoded)]
    assert [pair for pair in found if pair in wanted] == wanted or len(found) == len(pairs)
