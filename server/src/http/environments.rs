//! The calls about products and environments: for operators.

use super::Web;
use super::caller::By;
use super::input::Json;
use super::problem::{Answer, Problem};
use super::search::{PageBody, Params};
use super::sessions::json;
use super::wire::Time;
use crate::app::control::Env;
use axum::extract::{Path, State};
use handstamp_core::environment::EnvironmentName;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// An environment of a product.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Environment)]
pub struct EnvironmentBody {
    product: String,
    environment: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
}

/// A new environment.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateEnvironmentRequest {
    /// 1 to 40 of a-z 0-9 - _
    product: String,
    /// 1 to 40 of a-z 0-9 - _
    environment: String,
}

/// `GET /v1/environments`
pub async fn list(State(web): State<Arc<Web>>, By(caller): By, params: Params) -> Answer {
    params.only(&[])?;
    let items = web.app.environments(&caller)?.iter().map(|env| body(env)).collect();
    Ok(json(StatusCode::OK, &PageBody { items, next_cursor: None }))
}

/// `POST /v1/environments`
pub async fn create(
    State(web): State<Arc<Web>>,
    By(caller): By,
    Json(ask, _): Json<CreateEnvironmentRequest>,
) -> Answer {
    let name = EnvironmentName::new(&ask.product, &ask.environment).map_err(|why| Problem::field("", why))?;
    let env = web.app.create_environment(&caller, name).await?;
    Ok(json(StatusCode::CREATED, &body(&env)))
}

/// `DELETE /v1/environments/{product}/{environment}`
pub async fn delete(
    State(web): State<Arc<Web>>,
    By(caller): By,
    Path((product, environment)): Path<(String, String)>,
) -> Answer {
    let name = EnvironmentName::new(&product, &environment).map_err(|why| Problem::field("", why))?;
    web.app.delete_environment(&caller, &name).await?;
    Ok(json(StatusCode::OK, &serde_json::json!({ "removed": 1 })))
}

fn body(env: &Env) -> EnvironmentBody {
    let name = &env.record.name;
    EnvironmentBody {
        product: name.product().to_owned(),
        environment: name.environment().to_owned(),
        created_at: Time(env.record.created_at),
    }
}
