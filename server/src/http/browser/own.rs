//! The calls of a client about the other sessions of the same user: where else am I logged in?
//!
//! Ending them takes a fresh login where the configuration says so: whoever finds an unlocked browser could otherwise log
//! the user out everywhere else (ASVS 7.5.2).

use super::super::Web;
use super::super::input::{self, At, Nothing};
use super::super::problem::{Answer, Problem};
use super::super::query::Params;
use super::super::reply::json;
use super::super::wire::{ActorBody, ClientBody, PageBody, Time};
use super::guard::{Instead, may_change};
use super::session::{clear, enter, paid};
use super::visit::Visit;
use crate::app::nodes::Late;
use crate::app::validate::Ask;
use crate::app::view::View;
use axum::extract::State;
use handstamp_core::id::SessionId;
use handstamp_core::step_up::Assured;
use http::StatusCode;
use serde::Serialize;
use std::sync::Arc;

/// One of the user's sessions.
#[derive(Serialize, utoipa::ToSchema)]
pub struct OneOfMine<'a> {
    /// `ses_...`: no secret.
    id: String,
    /// Whether it is the one that asks.
    current: bool,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
    /// The last authentication.
    #[schema(value_type = String, format = DateTime)]
    authenticated_at: Time,
    /// The last activity.
    #[schema(value_type = String, format = DateTime)]
    last_active_at: Time,
    /// The earliest end that stands now.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Time,
    /// Who acts in the user's place.
    actor: Option<ActorBody<'a>>,
    /// From where it was made.
    client: ClientBody<'a>,
    /// From where it was last used, when that differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_client: Option<ClientBody<'a>>,
}

/// What was ended.
#[derive(Serialize, utoipa::ToSchema)]
pub struct EndedOthers {
    /// How many.
    ended: u64,
}

impl<'a> OneOfMine<'a> {
    fn of(view: &'a View, current: SessionId) -> OneOfMine<'a> {
        let session = view.session();
        OneOfMine {
            id: session.id.to_string(),
            current: session.id == current,
            created_at: Time(session.created_at),
            authenticated_at: Time(session.authenticated_at),
            last_active_at: Time(view.seen),
            expires_at: Time(view.ends.earliest()),
            actor: session
                .actor
                .as_deref()
                .map(|actor| ActorBody { id: actor.id.as_str(), reason: &actor.reason }),
            client: ClientBody::of(&session.client),
            last_client: session.last_client.as_deref().map(ClientBody::of),
        }
    }
}

/// Lists the user's live sessions, newest first; the one that asks is marked.
#[utoipa::path(
    get, path = "/v1/auth/sessions", tag = "browser", operation_id = "own_sessions",
    params(
        ("limit" = Option<u32>, Query, description = "1 to 200; left out: 50."),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before.")
    ),
    responses((status = 200, description = "A page of them.", body = PageBody<OneOfMine<'static>>))
)]
pub async fn list(State(web): State<Arc<Web>>, visit: Visit, query: Params) -> Answer {
    let answering = async {
        let limit = query.limit()?;
        let mut visitor = enter(&web, &visit, visit.ask_without_successor()).await?;
        let found = web.app.own_sessions(&visitor, limit, query.get("cursor")?).await;
        let found = found.map_err(|stop| Problem::from(stop).of_parameter())?;
        let mut late = Late::default();
        while !web.app.may_leave(visitor.good, &mut late)? {
            visit.look_again(&web).await?;
            visitor = enter(&web, &visit, Ask { strong: true, ..visit.ask_without_successor() }).await?;
        }
        let items = found.items.iter().map(|view| OneOfMine::of(view, visitor.session)).collect();
        Ok(json(StatusCode::OK, &PageBody { items, next_cursor: found.next }))
    };
    paid(&web, &visit, answering).await
}

/// Ends one of the user's sessions.
///
/// The one that asks is logged out with it. Another one takes a login within the last hour, or as the configuration says
/// (`[browser] fresh_login`).
#[utoipa::path(
    delete, path = "/v1/auth/sessions/{id}", tag = "browser", operation_id = "end_own_session",
    params(("id" = String, Path, description = "`ses_...`")),
    responses((status = 200, description = "Whether this call ended it.", body = EndedOthers))
)]
pub async fn end(State(web): State<Arc<Web>>, visit: Visit, At(id): At<String>) -> Answer {
    let answering = async {
        may_change(&web, &visit, Instead::Nothing).await?;
        let id = input::session(&id)?;
        let mut visitor = enter(&web, &visit, visit.ask_without_successor()).await?;
        let itself = visitor.session == id;
        if !itself {
            visitor = enter(&web, &visit, fresh(&web, &visit)).await?;
        }
        let ended = web.app.end_own(&visitor, id, &visit.client()).await?;
        let mut answer = json(StatusCode::OK, &EndedOthers { ended: u64::from(ended) });
        if itself {
            clear(&web, &visit, &mut answer);
        }
        Ok(answer)
    };
    paid(&web, &visit, answering).await
}

/// Ends all of the user's sessions but the one that asks.
///
/// Takes a login within the last hour, or as the configuration says (`[browser] fresh_login`).
#[utoipa::path(
    post, path = "/v1/auth/sessions/revoke-others", tag = "browser", operation_id = "end_other_sessions",
    responses((status = 200, description = "How many were ended.", body = EndedOthers))
)]
pub async fn end_others(State(web): State<Arc<Web>>, visit: Visit, _: Nothing) -> Answer {
    let answering = async {
        may_change(&web, &visit, Instead::Nothing).await?;
        let visitor = enter(&web, &visit, fresh(&web, &visit)).await?;
        let ended = web.app.end_others(&visitor, visit.client()).await?;
        Ok(json(StatusCode::OK, &EndedOthers { ended }))
    };
    paid(&web, &visit, answering).await
}

/// May it pass, with a login that is fresh enough to end other sessions?
fn fresh<'a>(web: &Web, visit: &'a Visit) -> Ask<'a> {
    let assured = Assured { max_age: web.browsers.fresh_login, ..Assured::default() };
    Ask { assured, ..visit.ask_without_successor() }
}
