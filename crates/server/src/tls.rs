//! Encryption of connections: a certificate and its key from files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::server::ServeError;

/// Where the certificate and its key are, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsFiles {
    /// The server's certificate, and those that vouch for it.
    pub certfile: PathBuf,
    /// Its private key.
    pub keyfile: PathBuf,
}

impl TlsFiles {
    /// These files.
    pub fn new(certfile: impl Into<PathBuf>, keyfile: impl Into<PathBuf>) -> Self {
        TlsFiles { certfile: certfile.into(), keyfile: keyfile.into() }
    }

    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor, ServeError> {
        let certificates: Vec<CertificateDer<'static>> =
            CertificateDer::pem_file_iter(&self.certfile)
                .and_then(Iterator::collect)
                .map_err(|error| unusable(&self.certfile, &error.to_string()))?;
        if certificates.is_empty() {
            return Err(unusable(&self.certfile, "it has no certificate"));
        }
        let key = PrivateKeyDer::from_pem_file(&self.keyfile)
            .map_err(|error| unusable(&self.keyfile, &error.to_string()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|config| config.with_no_client_auth().with_single_cert(certificates, key))
            .map_err(|error| unusable(&self.keyfile, &error.to_string()))?;
        let mut config = config;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn unusable(file: &Path, reason: &str) -> ServeError {
    ServeError::Tls { file: file.to_owned(), reason: reason.to_owned() }
}
