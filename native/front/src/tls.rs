//! TLS of the accept layer: what the server shows, what it asks of clients, and who they are.

use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, ServerConnection};
use tokio_rustls::TlsAcceptor;
use x509_cert::der::asn1::{
    BmpString, Ia5StringRef, ObjectIdentifier, PrintableStringRef, TeletexStringRef, Utf8StringRef,
};
use x509_cert::der::{AnyRef, Decode, Tag, Tagged};
use x509_cert::Certificate;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// What a server shows its clients and asks of them, or one sentence on what is wrong with it.
///
/// All are PEM: a certificate with its chain, its key, and the authorities of clients, who then
/// need a certificate of theirs.
pub fn configuration(
    certificate: &[u8],
    key: &[u8],
    authorities: Option<&[u8]>,
) -> Result<Arc<ServerConfig>, String> {
    let chain = certificates("certificate", certificate)?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| format!("key: {error}; allowed: an unencrypted private key in PEM"))?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match authorities {
        None => builder.with_no_client_auth(),
        Some(authorities) => {
            let mut trusted = RootCertStore::empty();
            for authority in certificates("authorities", authorities)? {
                trusted.add(authority).map_err(|error| format!("authorities: {error}"))?;
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(trusted), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| error.to_string())?)
        }
    };
    let mut configuration = builder
        .with_single_cert(chain, key)
        .map_err(|error| format!("certificate and key: {error}"))?;
    configuration.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(configuration))
}

fn certificates(what: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let allowed = "allowed: PEM with at least one certificate";
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(format!("{what}: none; {allowed}")),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("{what}: {error}; {allowed}")),
    }
}

/// What connections are accepted with; those that are there keep what they began with.
pub struct Door(RwLock<Arc<ServerConfig>>);

impl Door {
    pub fn new(configuration: Arc<ServerConfig>) -> Self {
        Self(RwLock::new(configuration))
    }

    /// Accepts connections with another configuration from now on.
    pub fn renew(&self, configuration: Arc<ServerConfig>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = configuration;
    }

    pub fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

/// The common name in the certificate that a client has shown; the first, where there are several.
pub fn name(connection: &ServerConnection) -> Option<String> {
    common_name(connection.peer_certificates()?.first()?)
}

fn common_name(der: &[u8]) -> Option<String> {
    let certificate = Certificate::from_der(der).ok()?;
    let names = &certificate.tbs_certificate.subject.0;
    let mut parts = names.iter().flat_map(|part| part.0.iter());
    let found = parts.find(|part| part.oid == COMMON_NAME)?;
    text(AnyRef::from(&found.value))
}

/// A name in any of the forms that X.520 has for one.
fn text(value: AnyRef<'_>) -> Option<String> {
    match value.tag() {
        Tag::Utf8String => Some(value.decode_as::<Utf8StringRef<'_>>().ok()?.as_str().to_owned()),
        Tag::PrintableString => {
            Some(value.decode_as::<PrintableStringRef<'_>>().ok()?.as_str().to_owned())
        }
        Tag::TeletexString => {
            Some(value.decode_as::<TeletexStringRef<'_>>().ok()?.as_str().to_owned())
        }
        Tag::Ia5String => Some(value.decode_as::<Ia5StringRef<'_>>().ok()?.as_str().to_owned()),
        Tag::BmpString => Some(value.decode_as::<BmpString>().ok()?.to_string()),
        _ => None,
    }
}
