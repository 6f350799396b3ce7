"""Which processor it is, by the files of Linux."""

from __future__ import annotations

import pytest

from forge_tui.resources.processor import processor_named

X86 = "processor\t: 0\nvendor_id\t: {}\ncpu family\t: {}\nmodel\t\t: {}\nmodel name\t: any name\nstepping\t: 6\n\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\nCPU variant\t: 0x3\nCPU part\t: 0xd0c\n\n"


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "name"),
    [
        ("x86_64", X86.format("GenuineIntel", 6, 106) * 2, "x86_64 GenuineIntel 6 106"),
        ("x86_64", X86.format("AuthenticAMD", 25, 17), "x86_64 AuthenticAMD 25 17"),
        ("aarch64", ARM, "aarch64 0x41 0xd0c 0x3"),
    ],
)
def test_the_first_processor_tells_its_kind(machine: str, cpuinfo: str, name: str) -> None:
    assert processor_named(machine, cpuinfo) == name


def test_without_such_a_file_it_is_what_python_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.processor", lambda: "i386")
    assert processor_named("x86_64", "") == "x86_64 i386"
    monkeypatch.setattr("platform.processor", lambda: "")
    assert processor_named("arm64", "processor\t: 0\n") == "arm64"
