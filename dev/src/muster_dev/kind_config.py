"""What kind is told to make."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from muster_dev.component_images import REPOSITORY, Tags

HPA_SYNC_PERIOD = "5s"
POD_SUBNET = "10.244.0.0/16"


@dataclass(frozen=True)
class ClusterSpec:
    """A cluster as it is asked for.

    ``published`` are pairs of (port of this machine, port of the nodes); ``own_image`` holds the
    versions of our node image, or None for the public one; ``runtime_wrapper`` is a file to use as
    the nodes' container runtime.
    """

    name: str
    nodes: int
    api_port: int
    published: tuple[tuple[int, int], ...] = ()
    own_image: Tags | None = None
    runtime_wrapper: str | None = None


def render(spec: ClusterSpec) -> str:
    """Return the configuration, as JSON, which kind reads as YAML."""
    node: dict[str, Any] = {}
    if spec.runtime_wrapper is not None:
        mount = {
            "hostPath": spec.runtime_wrapper,
            "containerPath": "/usr/local/sbin/oci-runtime",
            "readOnly": True,
        }
        node["extraMounts"] = [mount]
    first: dict[str, Any] = {"role": "control-plane", **node}
    if spec.published:
        first["extraPortMappings"] = [
            {"hostPort": here, "containerPort": there, "listenAddress": "127.0.0.1"}
            for here, there in spec.published
        ]
    config = {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "name": spec.name,
        "networking": {
            "ipFamily": "ipv4",
            "kubeProxyMode": "nftables",
            "podSubnet": POD_SUBNET,
            "apiServerAddress": "127.0.0.1",
            "apiServerPort": spec.api_port,
        },
        "nodes": [first, *({"role": "worker", **node} for _ in range(spec.nodes - 1))],
        "kubeadmConfigPatches": [json.dumps(patch) for patch in _patches(spec.own_image)],
        "kubeadmConfigPatchesJSON6902": [_faster_autoscaler()],
    }
    return json.dumps(config, indent=2)


def _patches(own_image: Tags | None) -> list[dict[str, Any]]:
    kubelet: dict[str, Any] = {"kind": "KubeletConfiguration", "failCgroupV1": False}
    if own_image is None:
        return [kubelet]
    kubelet["cgroupDriver"] = "cgroupfs"
    kubelet["cgroupRoot"] = "/"
    kubelet["resolvConf"] = "/kind/resolv.conf"
    cluster = {
        "kind": "ClusterConfiguration",
        "imageRepository": REPOSITORY,
        "etcd": {"local": {"imageTag": own_image.etcd}},
        "dns": {"imageTag": own_image.coredns},
    }
    return [kubelet, cluster]


def _faster_autoscaler() -> dict[str, str]:
    # Added to the end of the list: a merge would replace what kind puts there.
    argument = {"name": "horizontal-pod-autoscaler-sync-period", "value": HPA_SYNC_PERIOD}
    patch = [{"op": "add", "path": "/controllerManager/extraArgs/-", "value": argument}]
    return {
        "group": "kubeadm.k8s.io",
        "version": "v1beta4",
        "kind": "ClusterConfiguration",
        "patch": json.dumps(patch),
    }
