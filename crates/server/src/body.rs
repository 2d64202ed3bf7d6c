//! Bodies of requests: JSON objects whose every field is known.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request, rejection::BytesRejection};
use engine::hub::nearest_name;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::ApiError;

/// A body in JSON with fields of `T`, and no others.
pub(crate) struct Body<T>(pub(crate) T);

/// What a request may say: the fields are those of the type itself, so that no list of them can drift
/// from it.
pub(crate) trait Fields: Default + Serialize + DeserializeOwned {
    /// Fields that a client may know from elsewhere, and that there is no code for: each with the reason.
    const UNSUPPORTED: &'static [(&'static str, &'static str)];
}

impl<T: Fields, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        // Clients of all kinds leave the content type out or write another one; what counts is what it is.
        let bytes = Bytes::from_request(request, state).await.map_err(unread)?;
        parse(&bytes).map(Body)
    }
}

fn unread(rejection: BytesRejection) -> ApiError {
    match rejection.status().as_u16() {
        413 => {
            ApiError::too_large("the body is larger than the server takes; send a shorter prompt")
        }
        _ => ApiError::bad_request(format!("the body did not arrive: {}", rejection.body_text())),
    }
}

fn parse<T: Fields>(bytes: &[u8]) -> Result<T, ApiError> {
    let value: Value = serde_json::from_slice(bytes)
        .map_err(|error| ApiError::bad_request(format!("the body is not valid JSON: {error}")))?;
    let Value::Object(mut fields) = value else {
        return Err(ApiError::bad_request("the body must be a JSON object"));
    };
    // As in vLLM, `null` is a field that was left out.
    fields.retain(|_, value| !value.is_null());
    refuse_strangers::<T>(&fields)?;
    serde_json::from_value(Value::Object(fields))
        .map_err(|error| ApiError::bad_request(error.to_string()))
}

fn refuse_strangers<T: Fields>(fields: &Map<String, Value>) -> Result<(), ApiError> {
    let known = match serde_json::to_value(T::default()) {
        Ok(Value::Object(known)) => known,
        _ => return Err(ApiError::internal("the fields of a request are unknown")),
    };
    for name in fields.keys().filter(|name| !known.contains_key(*name)) {
        if let Some((_, reason)) = T::UNSUPPORTED.iter().find(|(field, _)| field == name) {
            return Err(ApiError::bad_field(name, format!("`{name}` is not supported: {reason}")));
        }
        let nearest = nearest_name(name, known.keys().map(String::as_str));
        let hint = nearest.map_or(String::new(), |name| format!("; did you mean `{name}`?"));
        return Err(ApiError::bad_field(
            name,
            format!("`{name}` is not a field of this request{hint}"),
        ));
    }
    Ok(())
}
