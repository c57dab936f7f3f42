import json
import subprocess
from pathlib import Path

import pytest

from muster_dev import capabilities, preflight
from muster_dev.errors import SetupError

ALL = "000001ffffffffff"


@pytest.mark.parametrize(
    ("bounds", "lacking"),
    [
        (ALL, []),
        ("000001fffeffffff", ["SYS_RESOURCE"]),
        ("000001ffffffeffe", ["CHOWN", "NET_ADMIN"]),
    ],
)
def test_what_is_missing_is_read_from_the_bounding_set(bounds: str, lacking: list[str]) -> None:
    status = f"Name:\tx\nCapPrm:\t{ALL}\nCapBnd:\t{bounds}\n"
    assert capabilities.missing(status, last=40) == lacking


def test_a_capability_that_the_kernel_does_not_know_is_not_missing() -> None:
    assert capabilities.missing("CapBnd:\t000000ffffffffff\n", last=39) == []


@pytest.mark.parametrize(
    "asked",
    [
        ["CAP_CHOWN", "CAP_SYS_RESOURCE", "CAP_KILL"],
        ["CAP_SYS_RESOURCE", "CAP_KILL"],
        ["CAP_KILL", "CAP_SYS_RESOURCE"],
        ["CAP_SYS_RESOURCE"],
    ],
)
@pytest.mark.parametrize("option", ["--bundle", "-b", "--process"])
def test_the_wrapper_takes_it_out_of_what_a_container_asks_for(
    tmp_path: Path, asked: list[str], option: str
) -> None:
    spec = tmp_path / "config.json"
    wanted = {"process": {"capabilities": {"bounding": asked, "permitted": asked}}}
    spec.write_text(json.dumps(wanted, separators=(",", ":")))
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(capabilities.runtime_wrapper(["SYS_RESOURCE"], "/bin/echo"))
    wrapper.chmod(0o755)
    target = str(spec) if option == "--process" else str(tmp_path)
    argv = [str(wrapper), "create", option, target, "name"]
    said = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    assert said.split() == argv[1:]
    left = [name for name in asked if name != "CAP_SYS_RESOURCE"]
    expected = {"process": {"capabilities": {"bounding": left, "permitted": left}}}
    assert json.loads(spec.read_text()) == expected


def test_a_missing_capability_that_nodes_need_is_one_sentence() -> None:
    preflight.require_capabilities(["SYS_RESOURCE"])
    with pytest.raises(SetupError, match="lacks CAP_NET_ADMIN, without which no node can start"):
        preflight.require_capabilities(["SYS_RESOURCE", "NET_ADMIN"])
