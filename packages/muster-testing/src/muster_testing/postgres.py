"""A real PostgreSQL server of the tests' own, thrown away at the end."""

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

import asyncpg

from muster_testing.ports import free_port

_SERVER_MISSING = (
    "no PostgreSQL server on this machine; install it (Debian: apt-get install postgresql)"
)


def _bin() -> Path:
    homes = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    if homes:
        return homes[-1]
    found = shutil.which("initdb")
    if found is None:
        raise RuntimeError(_SERVER_MISSING)
    return Path(found).resolve().parent


class PostgresServer:
    """A server on a free port of the loopback address, with an empty cluster.

    Durability is on, as in production. PostgreSQL refuses to run as root, so root runs it as the
    user `postgres`.
    """

    def __init__(self) -> None:
        self._bin = _bin()
        self._home = Path(tempfile.mkdtemp(prefix="muster-postgres-"))
        self._user = "postgres" if os.geteuid() == 0 else None
        self.port = free_port()

    def __enter__(self) -> Self:
        if self._user:
            owner = pwd.getpwnam(self._user)
            os.chown(self._home, owner.pw_uid, owner.pw_gid)
        self._run("initdb", "-D", "data", "-U", "muster", "-A", "trust", "-E", "UTF8", "--no-sync")
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop(mode="immediate")
        shutil.rmtree(self._home, ignore_errors=True)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = (
            f"-p {self.port} -k {self._home} -c listen_addresses=127.0.0.1 -c max_connections=300"
        )
        self._run("pg_ctl", "-D", "data", "-w", "-t", "180", "-l", "log", "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop the server: `fast` as an operator would, `immediate` as a crash does."""
        if (self._home / "data" / "postmaster.pid").exists():
            self._run("pg_ctl", "-D", "data", "-w", "-m", mode, "stop")

    def restart(self, mode: str = "fast") -> None:
        """Stop and start again; connections break, data stays."""
        self.stop(mode)
        self.start()

    def dsn(self, database: str = "postgres") -> str:
        """Connection string of a database of this server."""
        return f"postgresql://muster@127.0.0.1:{self.port}/{database}"

    async def create_database(self) -> str:
        """Make an empty database with a name of its own, and return its connection string."""
        name = f"t{uuid.uuid4().hex}"
        connection = await asyncpg.connect(self.dsn())
        try:
            await connection.execute(f'CREATE DATABASE "{name}"')
        finally:
            await connection.close()
        return self.dsn(name)

    def _run(self, program: str, *arguments: str) -> None:
        # With its `user` argument subprocess would fork, in which gRPC's threads can't be trusted.
        other = ["setpriv", f"--reuid={self._user}", f"--regid={self._user}", "--init-groups"]
        done = subprocess.run(
            [*(other if self._user else []), str(self._bin / program), *arguments],
            cwd=self._home,
            check=False,
            stdout=subprocess.PIPE if program != "pg_ctl" else subprocess.DEVNULL,
            stderr=subprocess.STDOUT if program != "pg_ctl" else subprocess.DEVNULL,
            text=True,
            # A locale that every machine has; Debian's default may not be generated.
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
        if done.returncode != 0:
            journal = self._home / "log"
            tail = journal.read_text()[-2000:] if journal.exists() else done.stdout
            raise RuntimeError(f"{program} failed with {done.returncode}: {tail}")
