"""One template, six providers: golden renderings, literals that Ruby reads back, nothing on standard output."""

from __future__ import annotations

import os
import string
from decimal import Decimal
from pathlib import Path

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localk8s.drivers.vagrant.plan import ClusterPlan, choose_network
from localk8s.drivers.vagrant.providers import PROVIDERS
from localk8s.drivers.vagrant.vagrantfile import Box, HostTraits, limits, render_vagrantfile, ruby, template_text
from localk8s.model.quantities import GIB, MIB
from localk8s.model.spec import NodeSize

GOLDEN = Path(__file__).parent / "vagrantfiles"
SIZE = NodeSize(cpus=Decimal("1.5"), memory=2 * GIB, disk=20 * GIB)


def rendering(provider: str) -> str:
    """What the goldens hold: one control plane and two workers, emulated, on an ARM host without an uplink."""
    plan = ClusterPlan("demo", "abcdef", provider, choose_network((), provider), (1,), (2, 3))
    own = PROVIDERS[provider].builds_box
    box = Box("localk8s-0123", own=True, kernel="/b/vmlinuz", initrd="/b/initrd") if own else Box("bento/debian-12", "1.2")
    traits = HostTraits(cgroup_v1=True, root=True, architecture="arm64", kvm=False)
    return render_vagrantfile(plan, PROVIDERS[provider], SIZE, box, traits)


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_rendering_is_the_golden_one(provider: str) -> None:
    golden = GOLDEN / f"{provider}.rb"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(rendering(provider))
    assert rendering(provider) == golden.read_text()


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_sizes_reach_every_machine(provider: str) -> None:
    text = rendering(provider)
    quota = "'150000'" if provider == "lxc" else "= 2\n"
    assert text.count("2048") == (6 if provider == "hyperv" else 3)
    assert text.count(quota) == 3 or text.count("'2'") >= 3
    if PROVIDERS[provider].bounds_disk:
        assert text.count("20") >= 3


def test_nothing_is_printed_by_the_vagrantfile() -> None:
    assert not any(word in template_text().split() for word in ("puts", "print", "p", "pp", "warn", "$stdout"))


def test_an_unknown_value_in_the_template_is_an_error() -> None:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    with pytest.raises(jinja2.UndefinedError):
        environment.from_string(template_text().replace("|ruby", "")).render(plan=object())


def test_every_interpolation_in_code_goes_through_the_filter() -> None:
    for line in template_text().splitlines():
        if "{{" in line and not line.startswith("#"):
            assert line.count("|ruby }}") + line.count("if box.own else ''") == line.count("{{"), line


def unquoted(literal: str) -> str:
    """What Ruby reads from a literal in single quotes."""
    assert literal[0] == literal[-1] == "'"
    found, rest = "", iter(literal[1:-1])
    for character in rest:
        if character == "'":
            raise AssertionError("the literal ends early")
        if character == "\\":
            following = next(rest)
            found += following if following in "\\'" else character + following
        else:
            found += character
    return found


@given(st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=("Cs",))))
def test_any_text_is_read_back(text: str) -> None:
    assert unquoted(ruby(text)) == text


@given(st.text(alphabet="\\'#{}\"\n$" + string.ascii_letters))
def test_hostile_text_is_read_back(text: str) -> None:
    assert unquoted(ruby(text)) == text


def test_other_literals() -> None:
    assert ruby([1, True, None, {"a": "b"}]) == "[1, true, nil, {'a' => 'b'}]"
    for unfit in (1.5, object(), "a\0b"):
        with pytest.raises(TypeError):
            ruby(unfit)


def test_sizes_are_rounded_up_to_what_a_provider_takes() -> None:
    odd = limits(NodeSize(cpus=Decimal("0.3"), memory=600 * MIB + 1, disk=GIB + 1))
    assert (odd.cpus, odd.cpu_quota, odd.memory_mib, odd.disk_gib) == (1, 30000, 601, 2)
    assert limits(NodeSize()).memory_mib == 2048
