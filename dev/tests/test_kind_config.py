import json
from datetime import datetime, timezone
from typing import Any

from muster_dev.component_images import Tags
from muster_dev.kind_cluster import renewed_since, untainted
from muster_dev.kind_config import ClusterSpec, render

TAGS = Tags(kubernetes="v1.36.3", etcd="3.7.3-0", coredns="v1.15.0", local_path="v0.0.30")


def rendered(**fields: Any) -> dict[str, Any]:
    spec = ClusterSpec(**{"name": "demo", "nodes": 3, "api_port": 36443, **fields})
    config: dict[str, Any] = json.loads(render(spec))
    return config


def patches(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {patch["kind"]: patch for patch in map(json.loads, config["kubeadmConfigPatches"])}


def test_one_node_controls_and_the_others_work() -> None:
    assert [node["role"] for node in rendered()["nodes"]] == ["control-plane", "worker", "worker"]
    assert [node["role"] for node in rendered(nodes=1)["nodes"]] == ["control-plane"]


def test_the_cluster_has_no_ipv6_and_listens_on_this_machine_only() -> None:
    networking = rendered(published=((38080, 30080),))["networking"]
    assert networking["ipFamily"] == "ipv4"
    assert networking["apiServerAddress"] == "127.0.0.1"
    mappings = rendered(published=((38080, 30080),))["nodes"][0]["extraPortMappings"]
    assert mappings == [{"hostPort": 38080, "containerPort": 30080, "listenAddress": "127.0.0.1"}]


def test_the_autoscaler_looks_every_five_seconds_beside_what_kind_sets() -> None:
    (patch,) = rendered()["kubeadmConfigPatchesJSON6902"]
    assert patch["kind"] == "ClusterConfiguration"
    (operation,) = json.loads(patch["patch"])
    assert operation["op"] == "add"
    assert operation["path"] == "/controllerManager/extraArgs/-"
    assert operation["value"] == {"name": "horizontal-pod-autoscaler-sync-period", "value": "5s"}


def test_our_own_node_image_is_asked_for_the_versions_that_are_in_it() -> None:
    found = patches(rendered(own_image=TAGS))
    assert found["ClusterConfiguration"]["imageRepository"] == "localhost/muster-node"
    assert found["ClusterConfiguration"]["etcd"] == {"local": {"imageTag": "3.7.3-0"}}
    assert found["ClusterConfiguration"]["dns"] == {"imageTag": "v1.15.0"}
    assert found["KubeletConfiguration"]["cgroupDriver"] == "cgroupfs"


def test_the_public_node_image_is_left_as_it_is() -> None:
    found = patches(rendered())
    assert found == {
        "KubeletConfiguration": {"kind": "KubeletConfiguration", "failCgroupV1": False}
    }


def test_every_node_gets_the_wrapper_of_a_machine_without_a_capability() -> None:
    for node in rendered(runtime_wrapper="/state/wrapper")["nodes"]:
        (mount,) = node["extraMounts"]
        assert mount["hostPath"] == "/state/wrapper"
        assert mount["containerPath"] == "/usr/local/sbin/oci-runtime"
        assert mount["readOnly"]


def test_a_kubelet_is_back_when_it_has_renewed_its_lease() -> None:
    since = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    times = {"old": "2026-01-02T03:04:04.999999Z", "new": "2026-01-02T03:04:05.000001Z"}
    leases = {
        "items": [
            {"metadata": {"name": name}, "spec": {"renewTime": time}}
            for name, time in times.items()
        ]
    }
    assert renewed_since(leases, since) == {"new"}


def test_pods_can_come_to_all_nodes_but_those_kept_for_the_control_plane() -> None:
    taint = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}
    passing = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
    listed = {
        "items": [
            {"metadata": {"name": "first"}, "spec": {"taints": [taint]}},
            {"metadata": {"name": "second"}, "spec": {"taints": [passing]}},
            {"metadata": {"name": "third"}, "spec": {}},
        ]
    }
    assert untainted(listed) == ["second", "third"]
