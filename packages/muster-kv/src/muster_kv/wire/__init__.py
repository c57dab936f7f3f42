"""The protocol between coordinators and storage nodes: framed, batched, persistent connections."""
