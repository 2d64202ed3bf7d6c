//! Ids of requests: clients give theirs in a header, and may find it in the answer's.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use crate::app::App;
use crate::error::ApiError;

/// vLLM's header.
const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id: it is said in every chunk of an answer.
const MAX_BYTES: usize = 256;

/// The id that a request has, by its header or else by its body.
pub(crate) fn of(headers: &HeaderMap, body: Option<String>) -> Result<Option<String>, ApiError> {
    let in_header = headers.get(HEADER).map(|id| id.to_str().map(str::to_owned));
    let id = in_header.transpose().map_err(|_| wrong())?.or(body);
    if id.as_ref().is_some_and(|id| id.is_empty() || id.len() > MAX_BYTES) {
        return Err(wrong());
    }
    Ok(id)
}

fn wrong() -> ApiError {
    let message = format!("a request's id has 1 to {MAX_BYTES} bytes, in a header of ASCII alone");
    ApiError::bad_field("request_id", message)
}

/// Gives answers the id of their request.
pub(crate) async fn echo(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    if !app.config.enable_request_id_headers {
        return next.run(request).await;
    }
    let fresh = || HeaderValue::from_str(&Uuid::new_v4().simple().to_string());
    let id = match request.headers().get(HEADER).cloned().map_or_else(fresh, Ok) {
        Ok(id) => id,
        Err(error) => return ApiError::internal(error.to_string()).into_response(),
    };
    request.headers_mut().insert(HEADER, id.clone());
    let mut response = next.run(request).await;
    response.headers_mut().insert(HEADER, id);
    response
}
