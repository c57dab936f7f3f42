"""The command `muster-storage`."""

import argparse
import asyncio
import logging
import os
import platform
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from muster_kv.wire.client import NodeClient
from muster_kv.wire.hello import Role
from muster_kv.wire.messages import Backup, Failure, RequestBody, Restore
from muster_runtime import logs
from muster_runtime.config import ConfigError
from muster_runtime.process import run_until_signalled
from muster_storage import __version__, backup
from muster_storage.backup import BackupError
from muster_storage.config import StorageConfig, load_config
from muster_storage.engine import EngineError
from muster_storage.identity import FolderRefusedError
from muster_storage.pruning import prune
from muster_storage.restoring import restore
from muster_storage.service import Service, wire_identity
from muster_storage.tls import client_context

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 5.0
_LONG_SECONDS = 6 * 3600.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run a storage node, or do something with its backups.

    Returns:
        0 after an orderly end, 1 after a failure, 2 for a wrong configuration.
    """
    parser = _parser()
    options = parser.parse_args(argv)
    if options.command == "backup" and options.nodes and not options.keep:
        parser.error("argument --nodes: goes with --keep")
    if options.command == "verify":
        return _told(lambda: _verify(options.path))
    try:
        config = load_config(options.config, os.environ)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if options.command == "backup":
        name = options.name or f"{config.storage.node_id}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        kept = (options.keep, options.nodes)
        return _told(lambda: _back_up(config, name, options.if_missing, *kept))
    if options.command == "restore" and options.merge:
        return _told(lambda: _ask(config, Restore(options.name), f"joined {options.name}"))
    if options.command == "restore":
        return _told(lambda: _restore(config, options.name, options.if_empty, options.unless))
    logs.configure("storage", config.storage.log_level)
    return run_until_signalled(lambda stop: _serve(config, stop))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="muster-storage",
        description="Keeps records of a KVCluster. Without a command: serves them.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", "-config", type=Path, help="path of storage.yaml")
    parser.add_argument("--version", "-version", action="version", version=version_text())
    commands = parser.add_subparsers(dest="command")
    made = commands.add_parser("backup", help="have the running node make a backup")
    made.add_argument("name", nargs="?", help="default: node id and time")
    made.add_argument(
        "--if-missing", action="store_true", help="do nothing where it is there already"
    )
    made.add_argument(
        "--keep",
        type=_count,
        metavar="N",
        help="remove the node's oldest backups beside it, so that N are left",
    )
    made.add_argument(
        "--nodes",
        type=_count,
        metavar="N",
        help="with --keep: do so for all nodes of the cluster, which has N, also for those that "
        "have left; what was last backed up of all nodes stays",
    )
    put = commands.add_parser("restore", help="fill an empty data folder from a backup")
    put.add_argument("name", help="name of a backup in storage.backup_dir")
    put.add_argument("--if-empty", action="store_true", help="do nothing where the folder has data")
    put.add_argument(
        "--unless", type=Path, metavar="FILE", help="do nothing where that file is there"
    )
    put.add_argument(
        "--merge", action="store_true", help="join it into what the running node has instead"
    )
    seen = commands.add_parser("verify", help="compare a backup's files with their digests")
    seen.add_argument("path", type=Path, help="folder of the backup")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"got {text!r}; allowed: 1 to 1000")
    return int(text)


def version_text() -> str:
    """What `--version` writes: version, Python and system, one a line."""
    return "\n".join(
        (
            f"Muster storage {__version__}",
            f"Python {platform.python_version()}",
            f"OS/Arch: {platform.system().lower()}/{platform.machine()}",
        )
    )


async def _serve(config: StorageConfig, stop: asyncio.Event) -> int:
    try:
        return await Service(config).run(stop)
    except (FolderRefusedError, EngineError, OSError) as error:
        log.error("can't serve: %s", error)  # noqa: TRY400 - the sentence says it all
        return 1
    except Exception:
        log.exception("storage failed")
        return 1


def _told(work: Callable[[], str]) -> int:
    try:
        sys.stdout.write(f"{work()}\n")
    except (BackupError, FolderRefusedError, EngineError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _verify(path: Path) -> str:
    manifest = backup.verify(path)
    return (
        f"{path}: {len(manifest.files)} files, {manifest.size} bytes, {manifest.origin.keys} "
        f"records of {manifest.origin.node_id}, made {manifest.created_at}: as backed up"
    )


def _back_up(
    config: StorageConfig, name: str, if_missing: bool, keep: int | None, nodes: int | None
) -> str:
    folder = config.storage.backup_dir
    if (if_missing or keep) and folder is None:
        raise BackupError("storage.backup_dir is not set; it says where backups are")
    made = (folder or Path()) / backup.check_name(name)
    if if_missing and made.is_dir():
        said = f"{name} is there already"
    else:
        said = _ask(config, Backup(name), f"backed up as {name}")
    gone = prune(made, keep, nodes) if keep else []
    return "\n".join([said, *(f"removed {each}" for each in gone)])


def _restore(config: StorageConfig, name: str, if_empty: bool, unless: Path | None) -> str:
    if unless is not None and unless.exists():
        return f"{unless}: is there, so nothing is restored"
    return restore(config, name, if_empty=if_empty)


def _ask(config: StorageConfig, body: RequestBody, done: str) -> str:
    async def asked() -> str:
        client = NodeClient(
            config.storage.host or "localhost",
            config.storage.port,
            wire_identity(config, Role.TOOL),
            tls=client_context(config.tls),
        )
        client.start()
        try:
            await client.ready(_CONNECT_SECONDS)
            answer = await client.request(body, _LONG_SECONDS)
        except TimeoutError:
            raise BackupError(f"{client.address}: {client.last_error}; is the node up?") from None
        finally:
            await client.close()
        if isinstance(answer, Failure):
            raise BackupError(f"{answer.code.name}: {answer.detail}")
        return done

    return asyncio.run(asked())
