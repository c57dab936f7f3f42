"""Mutual TLS between coordinators and storage nodes."""

import ssl

from muster_storage.config import TlsSection


def server_context(tls: TlsSection) -> ssl.SSLContext | None:
    """For the node's port; None without TLS."""
    if tls.ca_file is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    return _loaded(context, tls)


def client_context(tls: TlsSection) -> ssl.SSLContext | None:
    """For connections to other nodes, whose certificates are for the ring's host names."""
    if tls.ca_file is None:
        return None
    return _loaded(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), tls)


def _loaded(context: ssl.SSLContext, tls: TlsSection) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cafile=tls.ca_file)
    if tls.cert_file is not None:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    return context
