//! A bucket that cannot be used.

use std::io;

use object_store::Error;

/// Why, and what to change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// The client's settings.
    #[error(
        "the bucket {bucket} cannot be reached ({source}); look at endpoint_url and region in its URL, or AWS_ENDPOINT_URL and AWS_REGION, and at the credentials"
    )]
    Client {
        /// The bucket.
        bucket: String,
        /// What they lack.
        source: Error,
    },
    /// No such bucket.
    #[error(
        "there is no bucket {bucket} at its endpoint; create it, or look at endpoint_url and region in its URL, or AWS_ENDPOINT_URL and AWS_REGION"
    )]
    NoBucket {
        /// The bucket.
        bucket: String,
    },
    /// It is not for whoever asks.
    #[error(
        "the bucket {bucket} refuses these credentials ({source}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or \
         s3_access_key_id and s3_secret_access_key in the configuration, to those of a user who may list, read and write it"
    )]
    Denied {
        /// The bucket.
        bucket: String,
        /// What it says.
        source: Error,
    },
    /// The bucket does not answer.
    #[error("the bucket {bucket} cannot be listed: {source}")]
    List {
        /// The bucket.
        bucket: String,
        /// Why.
        source: Error,
    },
    /// No threads.
    #[error("cannot start the threads that talk to the bucket: {0}")]
    Runtime(#[source] io::Error),
}

/// S3's codes for a caller who may not.
const DENIED: [&str; 6] = [
    "AccessDenied",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "NotSignedUp",
    "ExpiredToken",
    "InvalidToken",
];

impl ObjectError {
    /// Why the first listing of a bucket failed. The client has no type for it: what S3 answered is in its text.
    pub(crate) fn of_listing(bucket: &str, source: Error) -> Self {
        let bucket = bucket.to_owned();
        let mut text = source.to_string();
        let mut cause = std::error::Error::source(&source);
        while let Some(error) = cause {
            text.push_str(&error.to_string());
            cause = error.source();
        }
        let says = |code: &str| text.contains(&format!("<Code>{code}</Code>"));
        if says("NoSuchBucket") {
            ObjectError::NoBucket { bucket }
        } else if DENIED.into_iter().any(says) {
            ObjectError::Denied { bucket, source }
        } else {
            ObjectError::List { bucket, source }
        }
    }
}
