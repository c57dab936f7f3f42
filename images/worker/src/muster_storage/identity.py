"""Who a data folder belongs to, and as whom the node makes dots.

An actor is a node with one history. Whatever cuts the history short (an empty folder, a backup put
back, a record found damaged) makes another actor of it: dots that the lost part had made would
otherwise be made a second time, for other values, and be taken for seen elsewhere.
"""

import json
import secrets
from dataclasses import asdict, dataclass, replace

from muster_storage import layout
from muster_storage.engine import Change, Engine, Family


class FolderRefusedError(Exception):
    """The data folder can't be served by this node; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What is written in a data folder when it is made.

    Args:
        folder: the folder's own name, for as long as it lasts; empty of those that are older than
            such names.
    """

    node_id: str
    cluster: str
    actor: str
    folder: str = ""

    @property
    def change(self) -> Change:
        """Writes it down."""
        return Change(Family.META, layout.META_IDENTITY, json.dumps(asdict(self)).encode())

    def renewed(self) -> "Identity":
        """The same node as another actor."""
        return replace(self, actor=_actor(self.node_id))


def new_identity(node_id: str, cluster: str) -> Identity:
    """Of an empty data folder."""
    return Identity(node_id, cluster, _actor(node_id), secrets.token_hex(8))


def read_identity(engine: Engine) -> Identity | None:
    """What the folder says; None where it is new."""
    held = engine.get(Family.META, layout.META_IDENTITY)
    return None if held is None else Identity(**json.loads(held))


def claim(engine: Engine, node_id: str, cluster: str) -> Identity:
    """Make a new folder this node's, or see that an old one is.

    Raises:
        FolderRefusedError: it belongs to another node or cluster.
    """
    identity = read_identity(engine)
    if identity is None:
        identity = new_identity(node_id, cluster)
        engine.write([identity.change])
        return identity
    if (identity.node_id, identity.cluster) != (node_id, cluster):
        raise FolderRefusedError(
            f"storage.data_dir holds the data of node {identity.node_id!r} of cluster "
            f"{identity.cluster!r}; this is {node_id!r} of {cluster!r}"
        )
    return identity


def _actor(node_id: str) -> str:
    return f"{node_id}#{secrets.token_hex(4)}"
