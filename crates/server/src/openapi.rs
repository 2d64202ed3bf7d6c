//! `/openapi.json`: what can be asked, as OpenAPI 3.1 has it.
//!
//! Paths are those that are served ([`crate::routes`]), and bodies are described by the types that they are read as
//! ([`crate::body`]): what is written here alone is what answers look like.

use std::collections::BTreeSet;

use axum::Json;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::routes::{Answer, Route, routes};

/// What an error means, by its status.
const ERRORS: [(u16, &str); 11] = [
    (400, "The request cannot be answered as it is"),
    (401, "A valid API key is wanted"),
    (403, "Web pages of this origin may not ask"),
    (404, "No such model"),
    (405, "The path does not take this method"),
    (408, "The body did not arrive in time"),
    (413, "The body is too large"),
    (500, "The server has failed"),
    (501, "There is no such thing"),
    (503, "Too much is asked at once, or the engine has stopped; with Retry-After"),
    (504, "The answer was not complete in time"),
];

/// What a body may be refused with, whatever is in it.
const ERRORS_OF_BODIES: [u16; 4] = [400, 408, 413, 500];

pub(crate) async fn answer() -> Json<Value> {
    Json(document())
}

fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for route in routes() {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method] = operation(&route, &mut generator);
    }
    let mut schemas = generator.take_definitions(true);
    schemas.insert("Error".to_owned(), error_schema());
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Kvasir", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "key": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut statuses: BTreeSet<u16> = route.errors.iter().copied().collect();
    let mut operation = json!({ "summary": route.summary });
    if let Some(body) = route.body {
        statuses.extend(ERRORS_OF_BODIES);
        let content = json!({ "application/json": { "schema": body(generator) } });
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    if route.is_guarded {
        statuses.insert(401);
        // The second is for a server without keys.
        operation["security"] = json!([{ "key": [] }, {}]);
    }
    if route.method == "post" {
        statuses.insert(403);
    }
    if let Some((_, name)) = route.path.split_once('{') {
        let name = name.trim_end_matches('}');
        let schema = json!({ "type": "string" });
        operation["parameters"] =
            json!([{ "name": name, "in": "path", "required": true, "schema": schema }]);
    }
    let mut responses: Map<String, Value> = Map::new();
    responses.extend(success(route.answer).map(|answer| ("200".to_owned(), answer)));
    let errors = ERRORS.iter().filter(|(status, _)| statuses.contains(status));
    responses.extend(errors.map(|(status, meaning)| (status.to_string(), error(meaning))));
    operation["responses"] = Value::Object(responses);
    operation
}

fn success(answer: Answer) -> Option<Value> {
    let object = |fields: &[&str]| json!({ "schema": { "type": "object", "required": fields } });
    let text = json!({ "schema": { "type": "string" } });
    let content = match answer {
        Answer::Never => return None,
        Answer::Empty => return Some(json!({ "description": "Yes" })),
        Answer::Text => json!({ "text/plain": text }),
        Answer::Object(fields) => json!({ "application/json": object(fields) }),
        Answer::ObjectOrEvents(fields) => {
            json!({ "application/json": object(fields), "text/event-stream": text })
        }
    };
    Some(json!({ "description": "The answer", "content": content }))
}

fn error(meaning: &str) -> Value {
    let schema = json!({ "$ref": "#/components/schemas/Error" });
    json!({ "description": meaning, "content": { "application/json": { "schema": schema } } })
}

/// As [`crate::error::ApiError`] writes it.
fn error_schema() -> Value {
    json!({
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message", "type", "param", "code"],
                "properties": {
                    "message": { "type": "string" },
                    "type": { "type": "string" },
                    "param": { "type": ["string", "null"] },
                    "code": { "type": "integer" },
                },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Follows references.
    fn schema<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(reference) => document.pointer(&reference[1..]).expect(reference),
            None => schema,
        }
    }

    #[test]
    fn a_body_has_the_fields_that_are_read_and_no_others() {
        let document = document();
        let body = |path: &str| {
            let content = &document["paths"][path]["post"]["requestBody"]["content"];
            schema(&document, &content["application/json"]["schema"])
        };
        let chat = body("/v1/chat/completions");
        for name in ["messages", "max_tokens", "tools", "response_format", "stream_options"] {
            assert!(chat["properties"].get(name).is_some(), "{name}: {chat:#}");
        }
        assert_eq!(chat["additionalProperties"], false);
        assert_eq!(chat["properties"]["seed"]["type"], json!(["integer", "null"]));
        let message = schema(&document, &chat["properties"]["messages"]["items"]);
        assert_eq!(message["additionalProperties"], false, "{message:#}");
        assert_eq!(message["required"], json!(["role"]));
        assert!(body("/v1/completions")["properties"].get("messages").is_none());
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(map) => {
                    found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    map.values().for_each(|value| references(value, found));
                }
                Value::Array(list) => list.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 10, "{found:?}");
        for reference in found {
            let pointer = reference.strip_prefix('#').expect("within the document");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn every_error_of_a_route_is_described() {
        for route in routes() {
            for status in route.errors {
                assert!(ERRORS.iter().any(|(known, _)| known == status), "{}", route.path);
            }
        }
    }
}
