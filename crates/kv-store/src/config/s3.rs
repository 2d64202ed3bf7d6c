//! How a bucket is reached, as far as the environment's `AWS_*` are not to say it.
//!
//! A place stands in logs and in lists of processes, so its URL has no credentials: a file or the environment has them.

use std::fmt;

use super::keys::nearest;

/// What may stand behind the `?` of a bucket's URL; the names are those of AWS's own configuration.
const QUERY_KEYS: [&str; 3] = ["endpoint_url", "region", "addressing_style"];

/// How a bucket is reached; what is `None` is the environment's (`AWS_*`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct S3Settings {
    /// `http://` or `https://`, a host, perhaps a port; without the bucket.
    pub endpoint_url: Option<String>,
    /// Such as `us-east-1`.
    pub region: Option<String>,
    /// Where requests name the bucket.
    pub addressing_style: Option<AddressingStyle>,
    /// Who asks.
    pub credentials: Option<S3Credentials>,
}

/// Where requests name the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressingStyle {
    /// In the path: what most servers of one's own want.
    Path,
    /// In the host's name.
    Virtual,
}

/// Who asks; not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct S3Credentials {
    /// As `AWS_ACCESS_KEY_ID`.
    pub access_key_id: String,
    /// As `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: String,
    /// As `AWS_SESSION_TOKEN`, of credentials that expire.
    pub session_token: Option<String>,
}

impl fmt::Debug for S3Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Credentials").finish_non_exhaustive()
    }
}

impl S3Settings {
    /// Understands `endpoint_url=URL&region=NAME&addressing_style=path|virtual`; the error says what was expected.
    pub(super) fn of_query(query: &str) -> Result<S3Settings, String> {
        let mut settings = S3Settings::default();
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let is_again = match key {
                "endpoint_url" => settings.endpoint_url.replace(endpoint_url(value)?).is_some(),
                "region" => settings.region.replace(region(value)?).is_some(),
                "addressing_style" => {
                    settings.addressing_style.replace(addressing_style(value)?).is_some()
                }
                other => return Err(unknown(other)),
            };
            if is_again {
                return Err(format!("{key} once"));
            }
        }
        Ok(settings)
    }
}

fn endpoint_url(value: &str) -> Result<String, String> {
    let host = value.strip_prefix("https://").or_else(|| value.strip_prefix("http://"));
    // Whoever writes a user's name there means a password.
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '@' | '%' | '?' | '#');
    match host.map(|host| host.trim_end_matches('/')) {
        Some(host) if !host.is_empty() && !host.contains(odd) => {
            Ok(value.trim_end_matches('/').to_owned())
        }
        _ => Err("endpoint_url=http://HOST:PORT or https://HOST".to_owned()),
    }
}

fn region(value: &str) -> Result<String, String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
    match (1..=64).contains(&value.len()) && value.chars().all(is_name) {
        true => Ok(value.to_owned()),
        false => Err("region=NAME, such as us-east-1".to_owned()),
    }
}

fn addressing_style(value: &str) -> Result<AddressingStyle, String> {
    match value {
        "path" => Ok(AddressingStyle::Path),
        "virtual" => Ok(AddressingStyle::Virtual),
        _ => Err("addressing_style=path or addressing_style=virtual".to_owned()),
    }
}

fn unknown(key: &str) -> String {
    let key = &key.to_ascii_lowercase();
    if ["key", "secret", "token", "password"].iter().any(|word| key.contains(word)) {
        return "a URL without credentials, for places are shown; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or \
            s3_access_key_id and s3_secret_access_key in the configuration"
            .to_owned();
    }
    let near = nearest(key, QUERY_KEYS);
    let hint = near.map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
    format!("{} behind the ?{hint}", QUERY_KEYS.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_how_a_bucket_is_reached() {
        let query = "endpoint_url=http://10.0.0.7:9000/&region=eu-1&addressing_style=virtual";
        let settings = S3Settings::of_query(query).unwrap();
        assert_eq!(settings.endpoint_url.as_deref(), Some("http://10.0.0.7:9000"));
        assert_eq!(settings.region.as_deref(), Some("eu-1"));
        assert_eq!(settings.addressing_style, Some(AddressingStyle::Virtual));
        assert_eq!(settings.credentials, None);
    }

    #[test]
    fn what_no_query_can_say_is_refused() {
        for (query, word) in [
            ("endpoint_ulr=http://x", "did you mean endpoint_url?"),
            ("endpoint_url=x:9000", "http://HOST"),
            ("endpoint_url=http://me:pass@x", "http://HOST"),
            ("endpoint_url=https:///", "http://HOST"),
            ("region=", "us-east-1"),
            ("region=a&region=b", "once"),
            ("addressing_style=auto", "path"),
            ("secret_access_key=hush", "AWS_SECRET_ACCESS_KEY"),
            ("AWS_SESSION_TOKEN=hush", "AWS_SECRET_ACCESS_KEY"),
            ("", "endpoint_url"),
        ] {
            let error = S3Settings::of_query(query).unwrap_err();
            assert!(error.contains(word) && !error.contains("hush"), "{query}: {error}");
        }
    }
}
