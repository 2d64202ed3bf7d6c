//! What a client is told when there is no answer: OpenAI's error body, as vLLM writes it.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::LlmError;
use serde::Serialize;
use serde_json::{Value, json};

/// Seconds after which a client that was turned away may come again.
const RETRY_AFTER_S: &str = "1";

/// An error with its status.
#[derive(Clone, Debug, Serialize)]
pub struct ApiError {
    message: String,
    #[serde(rename = "type")]
    kind: &'static str,
    param: Option<String>,
    code: u16,
}

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        ApiError { message: message.into(), kind, param: None, code: status.as_u16() }
    }

    /// The request cannot be answered as it is.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequestError", message)
    }

    /// The same, by a field of the request.
    pub(crate) fn bad_field(field: &str, message: impl Into<String>) -> Self {
        ApiError { param: Some(field.to_owned()), ..Self::bad_request(message) }
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFoundError", message)
    }

    pub(crate) fn model_not_found(model: &str, served: &str) -> Self {
        let message = format!("The model `{model}` does not exist; this server has `{served}`.");
        ApiError { param: Some("model".to_owned()), ..Self::not_found(message) }
    }

    pub(crate) fn method_not_allowed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "BadRequestError", message)
    }

    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "BadRequestError", message)
    }

    /// The client took too long.
    pub(crate) fn too_slow(message: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeoutError", message)
    }

    /// The answer took too long.
    pub(crate) fn timed_out(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "TimeoutError", message)
    }

    pub(crate) fn unauthorized() -> Self {
        let message = "a valid API key is wanted: Authorization: Bearer KEY";
        Self::new(StatusCode::UNAUTHORIZED, "AuthenticationError", message)
    }

    /// Who asks may not.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "PermissionDeniedError", message)
    }

    pub(crate) fn not_implemented(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "NotImplementedError", message)
    }

    pub(crate) fn overloaded(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailableError", message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", message)
    }

    /// The body: `{"error": {…}}`.
    pub fn body(&self) -> Value {
        json!({ "error": self })
    }
}

impl From<LlmError> for ApiError {
    fn from(error: LlmError) -> Self {
        match &error {
            LlmError::Refused(engine::Refusal::QueueFull { .. }) => {
                ApiError::overloaded(error.to_string())
            }
            LlmError::Stopped => ApiError::overloaded(error.to_string()),
            error if error.is_users() => ApiError::bad_request(error.to_string()),
            error => ApiError::internal(error.to_string()),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self.body())).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
