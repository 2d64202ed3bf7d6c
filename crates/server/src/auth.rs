//! Who may ask: API keys.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::error::ApiError;

/// Digests of the keys. Keys are compared by digest: that takes as long for a wrong key as for a right
/// one, whatever they have in common.
#[derive(Debug)]
pub(crate) struct ApiKeys(Vec<blake3::Hash>);

impl ApiKeys {
    pub(crate) fn new(keys: &[String]) -> Self {
        ApiKeys(keys.iter().map(|key| blake3::hash(key.as_bytes())).collect())
    }

    fn accept(&self, header: Option<&[u8]>) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let Some(given) = header.and_then(|header| header.strip_prefix(b"Bearer ")) else {
            return false;
        };
        let given = blake3::hash(given);
        // All are looked at, and each comparison takes the same time.
        self.0.iter().fold(false, |is_known, key| is_known | (*key == given))
    }
}

/// Lets requests with a key through.
pub(crate) async fn check(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let header = request.headers().get(AUTHORIZATION).map(|value| value.as_bytes());
    if app.api_keys.accept(header) {
        next.run(request).await
    } else {
        ApiError::unauthorized().into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_the_keys_is_wanted() {
        let keys = ApiKeys::new(&["abc".to_owned(), "xyz".to_owned()]);
        for (header, is_accepted) in [
            (Some(&b"Bearer abc"[..]), true),
            (Some(b"Bearer xyz"), true),
            (Some(b"Bearer ab"), false),
            (Some(b"Bearer abcd"), false),
            (Some(b"abc"), false),
            (Some(b"bearer"), false),
            (None, false),
        ] {
            assert_eq!(keys.accept(header), is_accepted, "{header:?}");
        }
        assert!(ApiKeys::new(&[]).accept(None));
    }
}
