//! HTTP with retries: what is worth asking again, and how a refusal reads.

use std::time::Duration;

use ureq::http::{Response, StatusCode, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::error::HubError;
use super::progress::Progress;

/// Attempts without any progress before giving up.
const MAX_ATTEMPTS: u32 = 5;
/// Longest wait between two attempts.
const MAX_DELAY: Duration = Duration::from_secs(30);
/// A peer that is silent for so long is gone.
const SILENCE: Duration = Duration::from_secs(60);

/// A hub: where it is, and who asks.
pub(super) struct Client {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
    retry_delay: Duration,
}

/// How an attempt failed.
pub(super) enum Attempt {
    /// Asking again will not help.
    Final(HubError),
    /// It may; `made_progress` if less is left to do than before, and then attempts count anew.
    Again {
        /// What to report if there is no further attempt.
        error: HubError,
        /// Bytes arrived.
        made_progress: bool,
        /// The server asked to wait so long.
        wait: Option<Duration>,
    },
}

impl Attempt {
    /// A failure that says nothing of the next attempt.
    pub(super) fn again(error: HubError) -> Attempt {
        Attempt::Again { error, made_progress: false, wait: None }
    }
}

impl From<HubError> for Attempt {
    fn from(error: HubError) -> Self {
        Attempt::Final(error)
    }
}

impl Client {
    pub(super) fn new(endpoint: &str, token: Option<String>, retry_delay: Duration) -> Client {
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .user_agent(concat!("kvasir/", env!("CARGO_PKG_VERSION")))
            // Sizes, ranges and digests are of the bytes as stored.
            .accept_encoding("identity")
            // The default, said aloud: a redirect to another host must not carry the token.
            .redirect_auth_headers(ureq::config::RedirectAuthHeaders::SameHost)
            .timeout_connect(Some(Duration::from_secs(20)))
            .timeout_per_read(Some(SILENCE))
            .tls_config(tls)
            .build()
            .new_agent();
        Client { agent, endpoint: endpoint.trim_end_matches('/').to_owned(), token, retry_delay }
    }

    /// The URL of `path`, which begins with `/` and is percent-encoded.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.endpoint)
    }

    /// One GET. Anything but the statuses in `accepted` is an error.
    pub(super) fn get(
        &self,
        url: &str,
        headers: &[(header::HeaderName, String)],
        accepted: &[StatusCode],
    ) -> Result<Response<Body>, Attempt> {
        let mut request = self.agent.get(url);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let response = request.call().map_err(|error| explain_failure(url, &error))?;
        if accepted.contains(&response.status()) {
            return Ok(response);
        }
        Err(self.explain_status(url, &response))
    }

    /// Calls `attempt` until it succeeds, fails for good, or has failed too often in a row.
    pub(super) fn with_retries<T>(
        &self,
        progress: &dyn Progress,
        mut attempt: impl FnMut() -> Result<T, Attempt>,
    ) -> Result<T, HubError> {
        let mut failures = 0;
        loop {
            let (error, made_progress, wait) = match attempt() {
                Ok(value) => return Ok(value),
                Err(Attempt::Final(error)) => return Err(error),
                Err(Attempt::Again { error, made_progress, wait }) => (error, made_progress, wait),
            };
            failures = if made_progress { 1 } else { failures + 1 };
            if failures >= MAX_ATTEMPTS {
                return Err(error);
            }
            let backoff = self.retry_delay.saturating_mul(1 << (failures - 1));
            let delay = wait.map_or(backoff, |wait| wait.max(backoff)).min(MAX_DELAY);
            progress.note(&format!("{error}; trying again in {:.1} s", delay.as_secs_f64()));
            std::thread::sleep(delay);
        }
    }

    fn explain_status(&self, url: &str, response: &Response<Body>) -> Attempt {
        let url = url.to_owned();
        let status = response.status().as_u16();
        match status {
            401 | 403 => Attempt::Final(HubError::Unauthorized {
                url,
                status,
                had_token: self.token.is_some(),
            }),
            404 | 410 => Attempt::Final(HubError::NotFound { url }),
            408 | 429 | 500..=599 => Attempt::Again {
                error: HubError::Http { url, status },
                made_progress: false,
                wait: retry_after(response),
            },
            _ => Attempt::Final(HubError::Http { url, status }),
        }
    }
}

/// `Retry-After` in seconds; a date is as good as nothing.
fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

/// Tells what may pass (a dropped connection) from what will not (a refused one, a bad URL).
fn explain_failure(url: &str, error: &ureq::Error) -> Attempt {
    let offline = HubError::Offline { address: origin(url).to_owned(), detail: error.to_string() };
    match error {
        ureq::Error::Io(io) if io.kind() == std::io::ErrorKind::ConnectionRefused => {
            Attempt::Final(offline)
        }
        ureq::Error::Io(_) | ureq::Error::Timeout(_) | ureq::Error::Protocol(_) => {
            Attempt::again(offline)
        }
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => Attempt::Final(offline),
        other => {
            Attempt::Final(HubError::BadReply { url: url.to_owned(), detail: other.to_string() })
        }
    }
}

/// `scheme://host:port` of a URL.
fn origin(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    url[start..].find('/').map_or(url, |end| &url[..start + end])
}

/// `text` with everything but unreserved characters percent-encoded (RFC 3986), `/` kept.
pub(super) fn encode_path(text: &str) -> String {
    encode(text, true)
}

/// The same with `/` encoded too.
pub(super) fn encode_segment(text: &str) -> String {
    encode(text, false)
}

fn encode(text: &str, keep_slash: bool) -> String {
    use std::fmt::Write;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(byte as char);
            }
            b'/' if keep_slash => encoded.push('/'),
            // Writing to a string cannot fail.
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_encoded_for_urls() {
        assert_eq!(encode_path("sub dir/q4?.gguf"), "sub%20dir/q4%3F.gguf");
        assert_eq!(encode_segment("refs/pr/1"), "refs%2Fpr%2F1");
    }

    #[test]
    fn origins_lose_their_path() {
        assert_eq!(origin("http://host:81/a/b"), "http://host:81");
        assert_eq!(origin("http://host"), "http://host");
    }
}
