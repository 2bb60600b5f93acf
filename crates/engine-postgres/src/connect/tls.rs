//! TLS to a server in the six ways of libpq's `sslmode`.

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::PostgresError;

/// How much TLS is asked for, as in libpq.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SslMode {
    /// Never.
    Disable,
    /// Only where the server refuses a plain connection.
    Allow,
    /// Where the server has it; the default.
    Prefer,
    /// Always, without looking at the certificate; with `sslrootcert` as verify-ca, as libpq does.
    Require,
    /// Always, with a certificate of a known authority, for whatever name.
    VerifyCa,
    /// Always, with a certificate of a known authority for this host.
    VerifyFull,
}

impl SslMode {
    /// As it is written.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            SslMode::Disable => "disable",
            SslMode::Allow => "allow",
            SslMode::Prefer => "prefer",
            SslMode::Require => "require",
            SslMode::VerifyCa => "verify-ca",
            SslMode::VerifyFull => "verify-full",
        }
    }

    /// Whether a plain connection is out of the question.
    pub(crate) fn is_strict(self) -> bool {
        matches!(
            self,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull
        )
    }

    /// Whether the server's certificate is looked at.
    pub(crate) fn verifies(self) -> bool {
        matches!(self, SslMode::VerifyCa | SslMode::VerifyFull)
    }
}

impl FromStr for SslMode {
    type Err = PostgresError;

    fn from_str(text: &str) -> Result<Self, PostgresError> {
        Ok(match text {
            "disable" => SslMode::Disable,
            "allow" => SslMode::Allow,
            "prefer" => SslMode::Prefer,
            "require" => SslMode::Require,
            "verify-ca" => SslMode::VerifyCa,
            "verify-full" => SslMode::VerifyFull,
            _ => {
                return Err(PostgresError::Url {
                    reason: format!(
                        "sslmode is {text:?} and must be disable, allow, prefer, require, verify-ca or verify-full"
                    ),
                });
            }
        })
    }
}

/// Where the system keeps its root certificates as one file; pg_dump needs it named.
pub(crate) fn system_roots() -> Option<PathBuf> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let usual = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/cert.pem",
    ];
    named
        .into_iter()
        .chain(usual.map(PathBuf::from))
        .find(|path| path.is_file())
}

/// Does the TLS handshake over a stream on which the server has agreed to it.
pub(crate) async fn handshake(
    tcp: TcpStream,
    host: &str,
    mode: SslMode,
    root: Option<&Path>,
) -> Result<Result<TlsStream<TcpStream>, io::Error>, PostgresError> {
    let config = client_config(mode, root)?;
    let name = ServerName::try_from(host.to_owned()).map_err(|_| PostgresError::Url {
        reason: format!("{host:?} is no host name that a certificate could be for"),
    })?;
    Ok(TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await)
}

fn client_config(mode: SslMode, root: Option<&Path>) -> Result<ClientConfig, PostgresError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = verifier(mode, root, &provider)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| roots_failed("of the system", &e))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(config)
}

fn verifier(
    mode: SslMode,
    root: Option<&Path>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, PostgresError> {
    let chain: Arc<dyn ServerCertVerifier> = match (mode, root) {
        (SslMode::VerifyCa | SslMode::VerifyFull | SslMode::Require, Some(path)) => {
            of_file(path, provider)?
        }
        (SslMode::VerifyCa | SslMode::VerifyFull, None) => Arc::new(
            rustls_platform_verifier::Verifier::new(provider.clone())
                .map_err(|e| roots_failed("of the system", &e))?,
        ),
        _ => return Ok(Arc::new(AnyCertificate(provider.clone()))),
    };
    Ok(match mode {
        SslMode::VerifyFull => chain,
        _ => Arc::new(AnyName(chain)),
    })
}

fn of_file(
    path: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, PostgresError> {
    let what = path.display().to_string();
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|e| roots_failed(&what, &e))? {
        let certificate = certificate.map_err(|e| roots_failed(&what, &e))?;
        roots
            .add(certificate)
            .map_err(|e| roots_failed(&what, &e))?;
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|e| roots_failed(&what, &e))
}

fn roots_failed(what: &str, reason: &dyn std::error::Error) -> PostgresError {
    PostgresError::RootCertificates {
        what: what.to_owned(),
        reason: reason.to_string(),
    }
}

/// sslmode=require: the connection is encrypted, with whom does not matter.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// sslmode=verify-ca: the chain counts, the name does not.
#[derive(Debug)]
struct AnyName(Arc<dyn ServerCertVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let answer =
            self.0
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match answer {
            // webpki looks at the name last: whoever gets so far has passed everything else.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            answer => answer,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
