//! The calls about products and environments: for operators.

use super::Web;
use super::caller::ByOperator;
use super::input::{At, Json};
use super::problem::{Answer, Problem};
use super::reply::json;
use super::wire::{PageBody, Time};
use crate::app::control::Env;
use axum::extract::State;
use handstamp_core::environment::EnvironmentName;
use handstamp_core::refusal::Code;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// An environment of a product.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Environment)]
pub struct EnvironmentBody {
    /// The product.
    product: String,
    /// One of its environments, such as `prd`.
    environment: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
}

/// A new environment.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "product": "shop", "environment": "prd" }))]
pub struct CreateEnvironmentRequest {
    /// 1 to 40 of a-z 0-9 - _
    product: String,
    /// 1 to 40 of a-z 0-9 - _
    environment: String,
}

/// What was removed.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Removed {
    /// Always 1.
    removed: u8,
}

/// Lists all environments.
#[utoipa::path(
    get, path = "/v1/environments", tag = "environments", operation_id = "list_environments",
    responses((status = 200, description = "All of them, by name.", body = PageBody<EnvironmentBody>))
)]
pub async fn list(State(web): State<Arc<Web>>, ByOperator(caller): ByOperator) -> Answer {
    let items = web.app.environments(&caller)?.iter().map(|env| body(env)).collect();
    Ok(json(StatusCode::OK, &PageBody { items, next_cursor: None }))
}

/// Makes an environment, and with its first one the product.
///
/// It has no access key yet: make one with `POST /v1/keys` and `X-Handstamp-Env`.
#[utoipa::path(
    post, path = "/v1/environments", tag = "environments", operation_id = "create_environment",
    request_body = CreateEnvironmentRequest,
    responses((status = 201, description = "The environment.", body = EnvironmentBody))
)]
pub async fn create(
    State(web): State<Arc<Web>>,
    ByOperator(caller): ByOperator,
    Json(ask, _): Json<CreateEnvironmentRequest>,
) -> Answer {
    // Each by itself first, so that what is wrong is pointed at.
    EnvironmentName::new(&ask.product, "x").map_err(|why| Problem::field("/product", why))?;
    let name = EnvironmentName::new(&ask.product, &ask.environment);
    let name = name.map_err(|why| Problem::field("/environment", why))?;
    let env = web.app.create_environment(&caller, name).await?;
    Ok(json(StatusCode::CREATED, &body(&env)))
}

/// Removes an environment with its sessions, keys and history.
///
/// Its keys are refused at once; its records are swept away behind it. There is no way back.
#[utoipa::path(
    delete, path = "/v1/environments/{product}/{environment}", tag = "environments",
    operation_id = "delete_environment",
    params(
        ("product" = String, Path, description = "The product."),
        ("environment" = String, Path, description = "The environment.")
    ),
    responses((status = 200, description = "It is gone.", body = Removed))
)]
pub async fn delete(
    State(web): State<Arc<Web>>,
    ByOperator(caller): ByOperator,
    At((product, environment)): At<(String, String)>,
) -> Answer {
    let name = EnvironmentName::new(&product, &environment);
    let name =
        name.map_err(|why| Problem::new(Code::NotFound, format!("there is no such environment: {why}")))?;
    web.app.delete_environment(&caller, &name).await?;
    Ok(json(StatusCode::OK, &Removed { removed: 1 }))
}

fn body(env: &Env) -> EnvironmentBody {
    let name = &env.record.name;
    EnvironmentBody {
        product: name.product().to_owned(),
        environment: name.environment().to_owned(),
        created_at: Time(env.record.created_at),
    }
}
