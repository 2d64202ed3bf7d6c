//! The client of a bucket, by what a configuration says of it.

use std::sync::Arc;

use kv_store::config::{AddressingStyle, S3Settings};
use object_store::StaticCredentialProvider;
use object_store::aws::AmazonS3ConfigKey::{Endpoint, S3Endpoint};
use object_store::aws::{AmazonS3Builder, AwsCredential};

/// What is said comes before what the environment says, under whatever name that has.
pub(crate) fn with_settings(
    mut builder: AmazonS3Builder,
    bucket: &str,
    settings: &S3Settings,
) -> AmazonS3Builder {
    if let Some(region) = &settings.region {
        builder = builder.with_region(region);
    }
    if let Some(credentials) = &settings.credentials {
        // All at once: a session token of the environment belongs to the environment's key.
        builder =
            builder.with_credentials(Arc::new(StaticCredentialProvider::new(AwsCredential {
                key_id: credentials.access_key_id.clone(),
                secret_key: credentials.secret_access_key.clone(),
                token: credentials.session_token.clone(),
            })));
    }
    let is_virtual = settings.addressing_style.map(|style| style == AddressingStyle::Virtual);
    if let Some(is_virtual) = is_virtual {
        builder = builder.with_virtual_hosted_style_request(is_virtual);
    }
    let endpoint = settings.endpoint_url.clone().or_else(|| {
        let said = |key| builder.get_config_value(&key);
        is_virtual.and_then(|_| said(S3Endpoint).or_else(|| said(Endpoint)))
    });
    match endpoint {
        None => builder,
        // The client takes a host as it is, and AWS's own tools put the bucket before it.
        Some(url) if is_virtual == Some(true) => {
            let url = url.replacen("://", &format!("://{bucket}."), 1);
            builder.with_config(S3Endpoint, url)
        }
        Some(url) => builder.with_config(S3Endpoint, url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ELSEWHERE: &str = "http://localhost:9";

    fn endpoint(settings: &S3Settings) -> Option<String> {
        let environment = AmazonS3Builder::new().with_config(Endpoint, ELSEWHERE);
        let builder = with_settings(environment, "kv-chunks", settings);
        builder.get_config_value(&S3Endpoint).or(builder.get_config_value(&Endpoint))
    }

    #[test]
    fn the_host_is_named_as_the_addressing_style_wants_it() {
        let at = |url: Option<&str>, addressing_style| S3Settings {
            endpoint_url: url.map(str::to_owned),
            addressing_style,
            ..S3Settings::default()
        };
        let (path, named) = (Some(AddressingStyle::Path), Some(AddressingStyle::Virtual));
        let own = Some("https://s3.example:9000");
        for (settings, expected) in [
            (at(None, None), ELSEWHERE),
            (at(None, path), ELSEWHERE),
            (at(None, named), "http://kv-chunks.localhost:9"),
            (at(own, None), "https://s3.example:9000"),
            (at(own, path), "https://s3.example:9000"),
            (at(own, named), "https://kv-chunks.s3.example:9000"),
        ] {
            assert_eq!(endpoint(&settings).as_deref(), Some(expected), "{settings:?}");
        }
    }
}
