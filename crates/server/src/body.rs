//! Bodies of requests: JSON objects whose every field is known.

use std::fmt::Display;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request, rejection::BytesRejection};
use engine::hub::nearest_name;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::time;

use crate::app::App;
use crate::error::ApiError;

/// A body in JSON with fields of `T`, and no others.
pub(crate) struct Body<T>(pub(crate) T);

/// Fields that requests may have: those of the type itself, so that no list of them can drift from it.
pub(crate) trait Record: Default + Serialize + DeserializeOwned + JsonSchema {
    /// Fields that a client may know from elsewhere, and that there is no code for: each with the reason.
    const UNSUPPORTED: &'static [(&'static str, &'static str)] = &[];
}

/// What a body may be read as: a record, or two whose fields stand side by side.
pub(crate) trait Fields: Sized {
    /// The fields there are, by their names.
    fn known() -> Map<String, Value>;
    /// Fields that there is no code for, each with the reason.
    fn unsupported() -> Vec<(&'static str, &'static str)>;
    /// Reads the fields that are its own.
    fn read(fields: &Map<String, Value>) -> Result<Self, ApiError>;
    /// What the fields may be, for who asks before.
    fn schema(generator: &mut SchemaGenerator) -> Schema;
}

impl<T: Record> Fields for T {
    fn known() -> Map<String, Value> {
        match serde_json::to_value(T::default()) {
            Ok(Value::Object(known)) => known,
            _ => Map::new(),
        }
    }

    fn unsupported() -> Vec<(&'static str, &'static str)> {
        T::UNSUPPORTED.to_vec()
    }

    fn read(fields: &Map<String, Value>) -> Result<Self, ApiError> {
        let fields = Value::Object(fields.clone());
        let record: T = serde_path_to_error::deserialize(&fields)
            .map_err(|error| bad_place(&error.path().to_string(), error.inner()))?;
        let written = serde_json::to_value(&record);
        let written = written.map_err(|error| ApiError::internal(error.to_string()))?;
        if let Some(path) = list_for_object(&fields, &written) {
            let what = "invalid type: a list, expected an object";
            return Err(bad_place(path.trim_start_matches('.'), what));
        }
        Ok(record)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = T::json_schema(generator);
        schema.insert("additionalProperties".to_owned(), Value::Bool(false));
        schema
    }
}

impl<A: Fields, B: Fields> Fields for (A, B) {
    fn known() -> Map<String, Value> {
        A::known().into_iter().chain(B::known()).collect()
    }

    fn unsupported() -> Vec<(&'static str, &'static str)> {
        [A::unsupported(), B::unsupported()].concat()
    }

    fn read(fields: &Map<String, Value>) -> Result<Self, ApiError> {
        Ok((A::read(fields)?, B::read(fields)?))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let (mut schema, mut other) = (A::schema(generator), B::schema(generator));
        let properties = |schema: &mut Schema| schema.remove("properties");
        let (mut all, others) = (properties(&mut schema), properties(&mut other));
        if let (Some(Value::Object(all)), Some(Value::Object(others))) = (&mut all, others) {
            all.extend(others);
        }
        schema.insert("properties".to_owned(), all.unwrap_or_default());
        schema
    }
}

impl<T: Fields> FromRequest<Arc<App>> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        // Clients of all kinds leave the content type out or write another one; what counts is what it is.
        let limit = app.config.limits.body_timeout;
        let bytes = time::timeout(limit, Bytes::from_request(request, app)).await;
        let bytes = bytes.map_err(|_| {
            ApiError::too_slow(format!("the body did not arrive within {} s", limit.as_secs_f64()))
        })?;
        let bytes = bytes.map_err(|rejection| unread(&rejection, app.config.max_body_bytes))?;
        parse(&bytes).map(Body)
    }
}

fn unread(rejection: &BytesRejection, max_body_bytes: usize) -> ApiError {
    match rejection.status().as_u16() {
        413 => ApiError::too_large(format!(
            "the body is larger than the {max_body_bytes} bytes that the server takes; send a shorter prompt"
        )),
        _ => ApiError::bad_request(format!("the body did not arrive: {}", rejection.body_text())),
    }
}

pub(crate) fn parse<T: Fields>(bytes: &[u8]) -> Result<T, ApiError> {
    let value: Value = serde_json::from_slice(bytes)
        .map_err(|error| ApiError::bad_request(format!("the body is not valid JSON: {error}")))?;
    let Value::Object(mut fields) = value else {
        return Err(ApiError::bad_request("the body must be a JSON object"));
    };
    // As in vLLM, `null` is a field that was left out.
    fields.retain(|_, value| !value.is_null());
    refuse_strangers::<T>(&fields)?;
    T::read(&fields)
}

fn refuse_strangers<T: Fields>(fields: &Map<String, Value>) -> Result<(), ApiError> {
    let known = T::known();
    let Some(name) = fields.keys().find(|name| !known.contains_key(*name)) else { return Ok(()) };
    if let Some((_, reason)) = T::unsupported().into_iter().find(|(field, _)| field == name) {
        return Err(ApiError::bad_field(name, format!("`{name}` is not supported: {reason}")));
    }
    if name.is_empty() {
        return Err(ApiError::bad_request("a field of the body has the empty text for a name"));
    }
    let nearest = nearest_name(name, known.keys().map(String::as_str));
    let hint = nearest.map_or(String::new(), |name| format!("; did you mean `{name}`?"));
    Err(ApiError::bad_field(name, format!("`{name}` is not a field of this request{hint}")))
}

/// An error at a path such as `messages[0].content`.
fn bad_place(path: &str, what: impl Display) -> ApiError {
    let field = path.split(['.', '[']).next().unwrap_or(path);
    ApiError::bad_field(field, format!("{path}: {what}"))
}

/// The path of a list where an object belongs: serde reads it as the object's fields in order. What was read, written
/// again, has an object there.
fn list_for_object(given: &Value, written: &Value) -> Option<String> {
    match (given, written) {
        (Value::Array(_), Value::Object(_)) => Some(String::new()),
        (Value::Array(given), Value::Array(written)) => {
            let mut both = given.iter().zip(written).enumerate();
            both.find_map(|(idx, (given, written))| {
                Some(format!("[{idx}]{}", list_for_object(given, written)?))
            })
        }
        (Value::Object(given), Value::Object(written)) => given.iter().find_map(|(name, given)| {
            Some(format!(".{name}{}", list_for_object(given, written.get(name)?)?))
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, serde::Deserialize, Serialize, JsonSchema)]
    #[serde(default)]
    struct Place {
        name: Option<String>,
        height: Option<u32>,
    }

    impl Record for Place {
        const UNSUPPORTED: &'static [(&'static str, &'static str)] = &[("depth", "it is unknown")];
    }

    #[derive(Debug, Default, serde::Deserialize, Serialize, JsonSchema)]
    #[serde(default)]
    struct Owner {
        owner: Option<Vec<u8>>,
        houses: Option<Vec<House>>,
    }

    #[derive(Debug, serde::Deserialize, Serialize, JsonSchema)]
    struct House {
        doors: Doors,
    }

    #[derive(Debug, serde::Deserialize, Serialize, JsonSchema)]
    #[serde(untagged)]
    enum Doors {
        Number(u8),
        Size(Size),
        Colours(Vec<String>),
    }

    #[derive(Debug, serde::Deserialize, Serialize, JsonSchema)]
    struct Size {
        width: u8,
        height: u8,
    }

    impl Record for Owner {}

    fn message(body: &str) -> String {
        parse::<(Place, Owner)>(body.as_bytes()).unwrap_err().body()["error"]["message"].to_string()
    }

    #[test]
    fn fields_of_both_records_are_read() {
        let body = br#"{"name": "x", "owner": [1], "height": null}"#;
        let (place, owner) = parse::<(Place, Owner)>(body).unwrap();
        assert_eq!((place.name.as_deref(), place.height), (Some("x"), None));
        assert_eq!(owner.owner, Some(vec![1]));
    }

    #[test]
    fn a_list_is_no_object() {
        for (houses, place) in
            [(r#"[[5]]"#, "houses[0]"), (r#"[{"doors": 1}, {"doors": [1, 2]}]"#, "houses[1].doors")]
        {
            let message = message(&format!(r#"{{"houses": {houses}}}"#));
            assert!(message.contains(&format!("{place}: ")), "{message}");
            assert!(message.contains("expected an object"), "{message}");
        }
        let body = r#"{"houses": [{"doors": {"width": 1, "height": 2}}, {"doors": ["red"]}]}"#;
        assert!(parse::<Owner>(body.as_bytes()).is_ok());
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(message(r#"{"nmae": "x"}"#).contains("did you mean `name`?"));
        assert!(message(r#"{"depth": 1}"#).contains("it is unknown"));
        assert!(message(r#"{"": 1}"#).contains("has the empty text for a name"));
        assert!(message(r#"{"height": -1}"#).contains("height: "));
        assert!(message(r#"{"owner": [1, 256]}"#).contains("owner[1]: "));
        for body in ["", "[]", "{\"name\": ", "nonsense"] {
            assert!(message(body).contains("JSON"), "{body}");
        }
    }
}
