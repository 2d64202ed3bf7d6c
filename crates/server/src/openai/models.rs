//! `/v1/models`: the one model, by each of its names.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use crate::app::App;
use crate::error::ApiError;

pub(crate) async fn list(State(app): State<Arc<App>>) -> Json<Value> {
    let names = app.model.names.iter();
    let models: Vec<Value> = names.map(|name| card(&app, name)).collect();
    Json(json!({ "object": "list", "data": models }))
}

pub(crate) async fn one(
    State(app): State<Arc<App>>,
    Path(model): Path<String>,
) -> Result<Json<Value>, ApiError> {
    app.model.check_name(Some(&model))?;
    Ok(Json(card(&app, &model)))
}

fn card(app: &App, name: &str) -> Value {
    json!({
        "id": name,
        "object": "model",
        "created": app.started,
        "owned_by": "kvasir",
        "root": app.model_name(),
        "parent": null,
        "max_model_len": app.model.max_model_len,
    })
}
