"""Ask the cluster whether this installation of Muster works. Standard library only.

Checks what a user relies on: the API server knows Muster's kinds, the operator is ready, and
(when the operator owns that API) external metrics answer. Exit status 0 when all do.
"""

import json
import os
import ssl
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
KINDS = {"proverpools", "coordinators", "kvclusters"}
DEADLINE_S = 60.0
REQUEST_S = 5.0


def api(path: str) -> Any:
    """GET `path` from the API server as this pod's account."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    host = f"[{host}]" if ":" in host else host
    token = (ACCOUNT / "token").read_text()
    request = urllib.request.Request(
        f"https://{host}:{port}{path}", headers={"Authorization": f"Bearer {token}"}
    )
    trust = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    with urllib.request.urlopen(request, timeout=REQUEST_S, context=trust) as reply:  # noqa: S310
        return json.load(reply)


def kinds_are_served() -> None:
    """The definitions are installed and established."""
    served = {resource["name"] for resource in api("/apis/muster.dev/v1alpha1")["resources"]}
    if missing := KINDS - served:
        raise LookupError(f"muster.dev/v1alpha1 serves no {', '.join(sorted(missing))}")


def operator_is_ready() -> None:
    """The operator answers on its ops port; an HTTP error status raises."""
    with urllib.request.urlopen(os.environ["OPERATOR_READY_URL"], timeout=REQUEST_S) as reply:  # noqa: S310
        reply.read()


def external_metrics_answer() -> None:
    """The aggregated API is reachable through the API server, with the CA that it was given."""
    if os.environ["EXTERNAL_METRICS"] != "true":
        return
    listed = api("/apis/external.metrics.k8s.io/v1beta1")
    if listed.get("kind") != "APIResourceList":
        raise LookupError(f"external.metrics.k8s.io answered {listed.get('kind')!r}")


def passes(check: Callable[[], None], until: float) -> bool:
    """Repeat one check until it passes or the deadline is over; say how it went."""
    while True:
        try:
            check()
        except (OSError, LookupError, ValueError) as error:
            if time.monotonic() < until:
                time.sleep(1)
                continue
            sys.stdout.write(f"FAILED {check.__name__}: {error}\n")
            return False
        sys.stdout.write(f"ok     {check.__name__}\n")
        return True


def main() -> int:
    """Run every check, the later ones too when an earlier one failed."""
    until = time.monotonic() + DEADLINE_S
    checks = (kinds_are_served, operator_is_ready, external_metrics_answer)
    results = [passes(check, until) for check in checks]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
