//! Where spans are sent.

use std::str::FromStr;

use axum::http::Uri;

/// Where spans are sent: a collector's URL for OTLP, as protobuf over HTTP. A build without the feature `otel` has no
/// value of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg(feature = "otel")]
pub struct OtlpEndpoint(Uri);

/// Where spans would be sent, were the feature `otel` built in: there is no value of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg(not(feature = "otel"))]
pub enum OtlpEndpoint {}

/// Why spans cannot be sent there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OtlpEndpointError {
    /// No URL that HTTP can send to.
    #[error(
        "it must be a collector's URL for OTLP over HTTP, like http://localhost:4318/v1/traces"
    )]
    NotUrl,
    /// Nothing of OpenTelemetry is compiled in.
    #[error(
        "this kvasir is built without OpenTelemetry; build it with \
         `cargo build --release --features otel`"
    )]
    NotBuiltIn,
}

impl FromStr for OtlpEndpoint {
    type Err = OtlpEndpointError;

    fn from_str(text: &str) -> Result<OtlpEndpoint, OtlpEndpointError> {
        let uri: Uri = text.parse().map_err(|_| OtlpEndpointError::NotUrl)?;
        match uri.scheme_str() {
            Some("http" | "https") => OtlpEndpoint::new(uri),
            _ => Err(OtlpEndpointError::NotUrl),
        }
    }
}

#[cfg(feature = "otel")]
impl OtlpEndpoint {
    fn new(uri: Uri) -> Result<OtlpEndpoint, OtlpEndpointError> {
        Ok(OtlpEndpoint(uri))
    }

    pub(super) fn url(&self) -> String {
        self.0.to_string()
    }
}

#[cfg(not(feature = "otel"))]
impl OtlpEndpoint {
    fn new(_: Uri) -> Result<OtlpEndpoint, OtlpEndpointError> {
        Err(OtlpEndpointError::NotBuiltIn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_url_of_http() {
        for text in ["", "localhost:4317", "grpc://localhost:4317", "/v1/traces", "http://"] {
            assert_eq!(text.parse::<OtlpEndpoint>(), Err(OtlpEndpointError::NotUrl), "{text}");
        }
        for text in ["http://localhost:4318/v1/traces", "https://[::1]/v1/traces"] {
            let parsed = text.parse::<OtlpEndpoint>();
            let is_built_in = cfg!(feature = "otel");
            assert_eq!(parsed.is_ok(), is_built_in, "{text}");
            assert!(is_built_in || parsed == Err(OtlpEndpointError::NotBuiltIn), "{text}");
        }
    }
}
