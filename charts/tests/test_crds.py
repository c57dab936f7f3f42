from typing import Any

import yaml

from .helm_cli import CHART, render

FILES: list[dict[str, Any]] = [
    yaml.safe_load(path.read_text()) for path in sorted((CHART / "files/crds").glob("*.yaml"))
]
KEEP = "helm.sh/resource-policy"


def test_there_is_one_for_each_kind() -> None:
    assert {crd["spec"]["names"]["kind"] for crd in FILES} == {
        "ProverPool",
        "Coordinator",
        "KVCluster",
    }


def test_what_is_installed_is_what_the_files_say() -> None:
    rendered = render()
    assert len(rendered.of("CustomResourceDefinition")) == len(FILES)
    for crd in FILES:
        installed = rendered.one("CustomResourceDefinition", crd["metadata"]["name"])
        assert installed["spec"] == crd["spec"]
        labels = crd["metadata"].get("labels", {})
        assert labels.items() <= installed["metadata"]["labels"].items()


def test_uninstalling_keeps_them() -> None:
    for crd in render().of("CustomResourceDefinition"):
        assert crd["metadata"]["annotations"][KEEP] == "keep"


def test_unless_told_otherwise() -> None:
    for crd in render({"crds.keep": False}).of("CustomResourceDefinition"):
        assert KEEP not in crd["metadata"].get("annotations", {})


def test_they_can_be_left_to_someone_else() -> None:
    assert render({"crds.install": False}).of("CustomResourceDefinition") == []


def test_they_carry_nothing_that_only_a_server_writes() -> None:
    for crd in FILES:
        assert "status" not in crd
        assert not {"creationTimestamp", "uid", "resourceVersion"} & set(crd["metadata"])
