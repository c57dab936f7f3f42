from pathlib import Path
from typing import Any

import yaml

from .helm_cli import CHART, Rendered, helm, parsed, render

ROOT = CHART.parents[1]
APPLICATIONS = ROOT / "examples" / "argocd"


def application(name: str) -> dict[str, Any]:
    manifest: dict[str, Any] = yaml.safe_load((APPLICATIONS / name).read_text())
    assert manifest["apiVersion"] == "argoproj.io/v1alpha1"
    assert manifest["kind"] == "Application"
    return manifest


def rendered_as_argocd_does(spec: dict[str, Any], folder: Path) -> Rendered:
    values = folder / "values.yaml"
    values.write_text(yaml.safe_dump(spec["source"]["helm"]["valuesObject"]))
    text = helm(
        "template",
        spec["source"]["helm"]["releaseName"],
        str(ROOT / spec["source"]["path"]),
        f"--namespace={spec['destination']['namespace']}",
        f"--values={values}",
        "--include-crds",
    )
    return parsed(text)


def test_the_application_renders_the_chart(tmp_path: Path) -> None:
    rendered = rendered_as_argocd_does(application("application.yaml")["spec"], tmp_path)
    assert rendered.names("Deployment") == {"muster-operator"}


def test_argocd_is_given_no_lease_which_it_would_leave_out_with_a_warning(tmp_path: Path) -> None:
    rendered = rendered_as_argocd_does(application("application.yaml")["spec"], tmp_path)
    assert render().names("Lease") == {"muster-operator"}
    assert rendered.of("Lease") == []


def test_each_ignored_difference_is_an_object_of_the_chart_without_that_field() -> None:
    spec = application("application.yaml")["spec"]
    for ignored in spec["ignoreDifferences"]:
        manifest = render().one(ignored["kind"], ignored["name"])
        group = manifest["apiVersion"].rpartition("/")[0]
        assert ignored["group"] == group
        for pointer in ignored["jsonPointers"]:
            *path, field = pointer.strip("/").split("/")
            inner = manifest
            for key in path:
                inner = inner[key]
            assert field not in inner


def test_what_the_operator_writes_into_the_charts_objects_is_ignored() -> None:
    ignored = {
        (entry["kind"], pointer)
        for entry in application("application.yaml")["spec"]["ignoreDifferences"]
        for pointer in entry["jsonPointers"]
    }
    assert ignored == {("APIService", "/spec/caBundle"), ("Secret", "/data")}


def test_a_sync_goes_to_the_server_and_keeps_what_is_ignored() -> None:
    options = application("application.yaml")["spec"]["syncPolicy"]["syncOptions"]
    assert {"ServerSideApply=true", "RespectIgnoreDifferences=true"} <= set(options)


def test_pools_are_never_pruned_by_themselves() -> None:
    assert application("pools.yaml")["spec"]["syncPolicy"]["automated"]["prune"] is False


def test_rendering_twice_gives_the_same(tmp_path: Path) -> None:
    spec = application("application.yaml")["spec"]
    first, second = (rendered_as_argocd_does(spec, tmp_path) for _ in range(2))
    assert first == second
