//! Web pages: those of an allowed origin may ask and read the answers, those of another may do neither.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

use crate::app::App;
use crate::error::ApiError;
use crate::server::ServeError;

/// Every origin, on the command line.
const ANY: &str = "*";

/// Where a browser says how a page's origin and the server's are related.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What tells browsers that pages may read answers: nothing unless origins are allowed.
pub(crate) fn cors(origins: &[String]) -> Result<Option<CorsLayer>, ServeError> {
    if origins.is_empty() {
        return Ok(None);
    }
    let layer = CorsLayer::new()
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE]);
    if origins.iter().any(|origin| origin == ANY) {
        return Ok(Some(layer.allow_origin(Any)));
    }
    let value = |origin: &String| {
        let value = HeaderValue::from_str(origin).ok().filter(|_| is_origin(origin));
        value.ok_or_else(|| ServeError::Origin(origin.clone()))
    };
    let origins: Vec<HeaderValue> = origins.iter().map(value).collect::<Result<_, _>>()?;
    Ok(Some(layer.allow_origin(AllowOrigin::list(origins))))
}

/// Whether a browser says so of a page: scheme and host, and never a path, be it a slash.
fn is_origin(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let parts = uri.scheme_str().zip(uri.authority());
    parts.is_some_and(|(scheme, authority)| text == format!("{scheme}://{authority}"))
}

/// Refuses what a page may not ask. That it cannot read an answer is not enough: a browser sends the POST of any page
/// that leaves the content type at plain text, and the engine would work for it.
pub(crate) async fn check(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match stranger(&app.config.allowed_origins, request.method(), request.headers()) {
        None => next.run(request).await,
        Some(origin) => {
            let origin = String::from_utf8_lossy(origin.as_bytes());
            let message = format!(
                "web pages of {origin} may not ask; start the server with --allowed-origin {origin}"
            );
            ApiError::forbidden(message).into_response()
        }
    }
}

/// The origin of a request that comes from a page which is neither the server's own nor allowed.
fn stranger<'a>(
    allowed: &[String],
    method: &Method,
    headers: &'a HeaderMap,
) -> Option<&'a HeaderValue> {
    // Only browsers say whose page asks.
    let origin = headers.get(header::ORIGIN)?;
    let is_allowed = allowed.iter().any(|allowed| allowed == ANY || *origin == allowed.as_str());
    let is_own = || match headers.get(SEC_FETCH_SITE) {
        Some(site) => site == "same-origin",
        // Browsers leave it out where neither TLS nor loopback vouches for the server.
        None => headers.get(header::HOST).is_some_and(|host| {
            let (origin, host) = (origin.as_bytes(), host.as_bytes());
            origin.strip_prefix(b"http://") == Some(host)
                || origin.strip_prefix(b"https://") == Some(host)
        }),
    };
    (!method.is_safe() && !is_allowed && !is_own()).then_some(origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_a_browser_sends() {
        for origin in ["https://example.org", "http://localhost:3000", "tauri://localhost", ANY] {
            assert!(cors(&[origin.to_owned()]).is_ok(), "{origin}");
        }
        for text in ["", "a.org", "https://", "https://a.org/", "https://a.org/page", "null"] {
            let refused = cors(&[text.to_owned()]);
            assert!(matches!(refused, Err(ServeError::Origin(_))), "{text}");
        }
    }

    #[test]
    fn only_the_servers_own_pages_and_allowed_ones_may_ask() {
        let allowed = ["https://a.org".to_owned()];
        let (own, host) = ("http://10.0.0.1:8000", "10.0.0.1:8000");
        for (origin, site, is_stranger) in [
            (None, None, false),
            (None, Some("cross-site"), false),
            (Some("https://a.org"), Some("cross-site"), false),
            (Some("https://b.org"), Some("cross-site"), true),
            (Some("https://b.org"), Some("same-site"), true),
            (Some("https://b.org"), None, true),
            (Some("null"), None, true),
            (Some(own), None, false),
            (Some("http://10.0.0.1:80001"), None, true),
            (Some(own), Some("cross-site"), true),
            // Behind a proxy the host is another one.
            (Some("https://proxy.org"), Some("same-origin"), false),
        ] {
            let mut headers = HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]);
            headers.extend(origin.map(|origin| (header::ORIGIN, origin.parse().unwrap())));
            headers.extend(site.map(|site| (SEC_FETCH_SITE, site.parse().unwrap())));
            let found = |allowed: &[String], method| stranger(allowed, &method, &headers).is_some();
            assert_eq!(found(&allowed, Method::POST), is_stranger, "{origin:?} {site:?}");
            assert!(!found(&allowed, Method::GET) && !found(&[ANY.to_owned()], Method::POST));
        }
    }
}
