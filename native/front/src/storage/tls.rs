//! TLS of connections to storage nodes.

use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// What nodes must show, and what they are shown; or one sentence on what is wrong with it.
///
/// All are PEM: the authorities of nodes, and our certificate with its chain and key, if any.
pub fn configuration(
    authorities: &[u8],
    own: Option<(&[u8], &[u8])>,
) -> Result<Arc<ClientConfig>, String> {
    let mut trusted = RootCertStore::empty();
    for authority in certificates("authorities", authorities)? {
        trusted.add(authority).map_err(|error| format!("authorities: {error}"))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(trusted);
    Ok(Arc::new(match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| {
                format!("key: {error}; allowed: an unencrypted private key in PEM")
            })?;
            builder
                .with_client_auth_cert(certificates("certificate", certificate)?, key)
                .map_err(|error| format!("certificate and key: {error}"))?
        }
    }))
}

fn certificates(what: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let allowed = "allowed: PEM with at least one certificate";
    match found {
        Ok(found) if found.is_empty() => Err(format!("{what}: none; {allowed}")),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("{what}: {error}; {allowed}")),
    }
}
