"""The documents about installing and operating: flags and files that exist, words that are real."""

import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from muster_api.conditions import ConditionType, EventReason, Reason

from .helm_cli import find_program, helm, kubectl

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    ROOT / "docs" / name
    for name in (
        "install.md",
        "gitops.md",
        "operations.md",
        "failure-modes.md",
        "coordinator-kind.md",
    )
]
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#]*)(?:#([^)]*))?\)")
CONDITION = re.compile(r"`(\w+)=(True|False|Unknown)(?: \((\w+)\))?`")
EVENT = re.compile(r"Event `(\w+)`")
FLAG = re.compile(r"^(--[a-z-]+)")


def not_run(document: Path) -> list[str]:
    """The command lines of a document that the end-to-end tests can't run; they run all others."""
    return [
        line
        for language, text in BLOCK.findall(document.read_text())
        if language == "bash"
        for line in text.splitlines()
    ]


@cache
def known_flags(program: str, subcommand: tuple[str, ...]) -> str:
    find_program(program)
    if program == "helm":
        return helm(*subcommand, "--help")
    common = kubectl("options", kubeconfig=Path("/dev/null"))
    return kubectl(*subcommand, "--help", kubeconfig=Path("/dev/null")) + common


@each_document
def test_commands_that_are_not_run_name_flags_that_exist(document: Path) -> None:
    for command in not_run(document):
        words = shlex.split(re.split(r" [<>] | -- ", command)[0])
        program, *rest = words
        assert program in {"helm", "kubectl"}, command
        while rest[0].startswith("--"):
            rest = rest[2:]
        text = known_flags(program, (rest[0],))
        for flag in (match[1] for word in words if (match := FLAG.match(word))):
            assert re.search(rf"{flag}\b", text), f"{command}: {flag}"


@each_document
def test_files_and_headings_that_are_pointed_at_exist(document: Path) -> None:
    for target, heading in LINK.findall(document.read_text()):
        path = (document.parent / target).resolve() if target else document
        assert path.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", t.lower()).replace(" ", "-") for t in titles}
            assert heading in anchors, f"{target}#{heading}"
    for command in not_run(document):
        for word in shlex.split(command):
            if word.startswith(("charts/", "examples/")):
                assert (ROOT / word).exists(), word


@each_document
def test_conditions_and_events_are_those_of_the_api(document: Path) -> None:
    text = document.read_text()
    for kind, _, reason in CONDITION.findall(text):
        assert kind in set(ConditionType), kind
        assert not reason or reason in set(Reason), reason
    assert set(EVENT.findall(text)) <= set(EventReason)


def test_every_reason_to_stall_is_explained() -> None:
    explained = {r for _, _, r in CONDITION.findall((ROOT / "docs/failure-modes.md").read_text())}
    assert explained >= {
        "CoordinatorNotFound",
        "CoordinatorNotOwned",
        "InvalidSpec",
        "KedaNotFound",
        "NameTaken",
        "PoolNameTaken",
        "Refused",
        "SecretNotFound",
        "TimeoutsContradict",
        "Unschedulable",
        "WitnessKeyLost",
    }
