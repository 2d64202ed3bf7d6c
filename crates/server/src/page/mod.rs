//! The page at `/`: a chat, and what the engine does meanwhile.
//!
//! It is embedded, asks this server alone, and knows nothing that any client could not ask for.

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::routing::get;

/// Nothing from elsewhere, nothing inline, in nobody's frame.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, content type, content.
const ASSETS: &[(&str, &str, &str)] = &[
    ("/", "text/html; charset=utf-8", include_str!("index.html")),
    ("/page/style.css", "text/css; charset=utf-8", include_str!("style.css")),
    ("/page/icon.svg", "image/svg+xml", include_str!("icon.svg")),
    ("/page/main.js", JAVASCRIPT, include_str!("main.js")),
    ("/page/api.js", JAVASCRIPT, include_str!("api.js")),
    ("/page/chat.js", JAVASCRIPT, include_str!("chat.js")),
    ("/page/live.js", JAVASCRIPT, include_str!("live.js")),
    ("/page/histogram.js", JAVASCRIPT, include_str!("histogram.js")),
    ("/page/blocks.js", JAVASCRIPT, include_str!("blocks.js")),
    ("/page/plots.js", JAVASCRIPT, include_str!("plots.js")),
    ("/page/units.js", JAVASCRIPT, include_str!("units.js")),
];

/// The page and its parts. They are open, as they hold no secret; what they ask for is not.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    ASSETS.iter().fold(Router::new(), |router, &(path, content_type, content)| {
        router.route(path, get(move || async move { (headers(content_type), content) }))
    })
}

fn headers(content_type: &'static str) -> [(HeaderName, HeaderValue); 5] {
    [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // Another version of the server has other parts at the same paths.
        (header::CACHE_CONTROL, "no-cache"),
    ]
    .map(|(name, value)| (name, HeaderValue::from_static(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The name of a format, which nobody fetches.
    const SVG: &str = "http://www.w3.org/2000/svg";

    #[test]
    fn nothing_comes_from_elsewhere() {
        for (path, _, content) in ASSETS {
            let content = content.replace(SVG, "");
            for outside in ["http:", "https:", "\"//", "'//", "url(", "@import"] {
                assert!(!content.contains(outside), "{path} has {outside}");
            }
        }
    }

    #[test]
    fn no_text_becomes_markup() {
        for (path, _, content) in ASSETS {
            for door in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("]
            {
                assert!(!content.contains(door), "{path} has {door}");
            }
        }
    }

    #[test]
    fn every_part_that_is_named_is_served() {
        let names = |content: &str| -> Vec<String> {
            let quoted = content.split('"').filter_map(|text| {
                let name = text.strip_prefix("./").or_else(|| text.strip_prefix("/page/"))?;
                Some(format!("/page/{name}"))
            });
            quoted.collect()
        };
        let named: Vec<String> = ASSETS.iter().flat_map(|(_, _, content)| names(content)).collect();
        assert!(named.len() >= ASSETS.len() - 1, "{named:?}");
        for name in &named {
            assert!(ASSETS.iter().any(|(path, _, _)| path == name), "{name}");
        }
        let is_named = |path: &&str| *path == "/" || named.iter().any(|name| name == path);
        assert!(ASSETS.iter().map(|(path, _, _)| path).all(is_named));
    }
}
