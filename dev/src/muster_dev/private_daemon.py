"""A Docker daemon of our own, for machines where none answers.

It has its own socket and folders, makes no firewall rules, does not forward packets between
networks and adds no default bridge, so its traces are the folders, one bridge and one control
group, all found by name. Containers live on when it dies.
"""

from __future__ import annotations

import signal
import subprocess
import time
from typing import TYPE_CHECKING

from muster_dev import capabilities, control_groups, processes, shell
from muster_dev.docker import Docker
from muster_dev.errors import SetupError
from muster_dev.mounts import remove_tree

if TYPE_CHECKING:
    from pathlib import Path

    from muster_dev.instance import Instance
    from muster_dev.paths import Paths

_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 15.0
_SOCKET_PATH_MAX = 100


class PrivateDaemon:
    """Starts, finds and removes the daemon of one state folder."""

    def __init__(self, paths: Paths, instance: Instance) -> None:
        self._home = paths.state / "docker"
        self._log = paths.logs / "dockerd.log"
        self._instance = instance
        self._pid_file = self._home / "dockerd.pid"
        self._socket = self._home / "docker.sock"
        self.docker = Docker(host=f"unix://{self._socket}")

    @property
    def exists(self) -> bool:
        """Whether an earlier run left anything of the daemon, alive or dead."""
        return self._home.exists() or bool(control_groups.find(self._instance.control_group))

    def process(self) -> int | None:
        """Return the process of the daemon if it lives; never that of another program."""
        return processes.of_pid_file(self._pid_file, str(self._home))

    def start(self) -> bool:
        """See to it that the daemon answers; tell whether it had to be started.

        Raises SetupError when it does not come up.
        """
        if self.process() is not None and self.docker.answers():
            return False
        if len(str(self._socket)) > _SOCKET_PATH_MAX:
            raise SetupError(
                f"MUSTER_STATE is too long for a socket in it ({self._socket}); at most "
                f"{_SOCKET_PATH_MAX} characters are possible."
            )
        if self.process() is None and (self._strays() or not (self._home / "data").exists()):
            # Somebody emptied the state folder: of what runs still, nothing is known any more.
            self.remove()
        self._stop_daemon()
        self._forget_containerd()
        self._pid_file.unlink(missing_ok=True)
        self._home.mkdir(parents=True, exist_ok=True)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("a", encoding="utf-8") as out:
            server = subprocess.Popen(
                self._arguments(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                env=shell.merged(None),
            )
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self.docker.answers():
            if server.poll() is not None or time.monotonic() > deadline:
                raise SetupError(
                    "The private Docker daemon did not start.",
                    log=self._log,
                    hint="`python3 -m muster_dev cluster down --all` removes what it left.",
                )
            time.sleep(0.1)
        return True

    def remove(self) -> None:
        """Remove the daemon, dead or alive, with its containers, networks, mounts and folders."""
        self._stop_daemon()
        for process in self._strays():
            processes.send(process, signal.SIGKILL)
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        group = self._instance.control_group
        while control_groups.kill(group) or not control_groups.empty(group):
            if time.monotonic() > deadline:
                raise SetupError(f"Processes in the control group {group} do not end when killed.")
            time.sleep(0.05)
        for process in processes.with_mark(str(self._home / "exec")):
            processes.send(process, signal.SIGKILL)
        remove_tree(self._home)
        if shell.succeeds(["ip", "link", "show", self._instance.bridge]):
            shell.output(["ip", "link", "delete", self._instance.bridge])
        control_groups.remove(group)

    def _stop_daemon(self) -> None:
        process = self.process()
        if process is None:
            return
        processes.send(process, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        while self.process() == process:
            if time.monotonic() > deadline:
                processes.send(process, signal.SIGKILL)
            time.sleep(0.05)

    def _strays(self) -> list[int]:
        # Daemons of this folder, also such whose pid file is gone.
        return processes.with_mark(f"--pidfile={self._pid_file}")

    def _forget_containerd(self) -> None:
        # It dies with the daemon that started it, but the next one waits for it in vain as long as
        # the number in its pid file is that of anything, be it a process that nobody has reaped.
        # The containers do not need it to live on.
        pid_file = self._home / "exec" / "containerd" / "containerd.pid"
        while (process := processes.of_pid_file(pid_file, str(self._home))) is not None:
            processes.send(process, signal.SIGKILL)
            time.sleep(0.02)
        pid_file.unlink(missing_ok=True)

    def _arguments(self) -> list[str]:
        argv = [
            shell.which("dockerd") or "dockerd",
            f"--host=unix://{self._socket}",
            f"--pidfile={self._pid_file}",
            f"--data-root={self._home / 'data'}",
            f"--exec-root={self._home / 'exec'}",
            f"--config-file={self._home / 'daemon.json'}",
            "--storage-driver=overlay2",
            "--live-restore",
            f"--cgroup-parent=/{self._instance.control_group}",
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
            "--ip-forward=false",
            "--ip-masq=false",
            f"--default-address-pool=base={self._instance.subnet},size=24",
        ]
        (self._home / "daemon.json").write_text("{}", encoding="utf-8")
        lacking = capabilities.missing()
        if lacking:
            argv += [f"--add-runtime=muster={self._wrapper(lacking)}", "--default-runtime=muster"]
        return argv

    def _wrapper(self, lacking: list[str]) -> Path:
        path = self._home / "oci-runtime"
        runc = shell.which("runc") or "/usr/sbin/runc"
        path.write_text(capabilities.runtime_wrapper(lacking, runc), encoding="utf-8")
        path.chmod(0o755)
        return path
