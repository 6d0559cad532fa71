//! What the peers with tower-sessions are, whichever store they keep sessions in: a login, and a page that says who it is.
//!
//! Cheaper than what many run: no save unless the session changed (so the idle time is not extended by use, which
//! Handstamp does), no check of address or agent.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::Args;
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use tokio::net::TcpListener;
use tower_sessions::session::{Id, Record};
use tower_sessions::{Expiry, Session, SessionManagerLayer, SessionStore};

use crate::Result;
use crate::population::Population;
use crate::stats::mix;

#[derive(Args)]
pub(crate) struct Filling {
    /// How many sessions to make before listening
    #[arg(long)]
    sessions: usize,
    /// Size of the answers
    #[arg(long)]
    answer_bytes: usize,
    /// Where to write the cookie of each session, one a line
    #[arg(long)]
    cookies: PathBuf,
}

/// What the login handler of such an application would put into the session.
#[derive(Clone, Serialize, Deserialize)]
struct Login {
    user_id: String,
    tags: [String; 2],
    data: serde_json::Value,
    ip: String,
    user_agent: String,
    created_at: String,
}

#[derive(Serialize)]
struct Answer<'a> {
    valid: bool,
    session: Login,
    /// Brings the answer to the size of Handstamp's, which says more about a session.
    padding: &'a str,
}

struct Application {
    population: Population,
    padding: String,
}

/// Fills the store, and serves until it is killed.
///
/// # Errors
/// When the store refuses something, or the cookies cannot be written.
pub(crate) async fn serve<S: SessionStore + Clone>(store: S, options: &Filling) -> Result<()> {
    fill(&store, options).await?;
    let population = Population::new();
    let sample = Answer { valid: true, session: login(&population, 0), padding: "" };
    let padding = "x".repeat(options.answer_bytes.saturating_sub(serde_json::to_vec(&sample)?.len()));
    let layer = SessionManagerLayer::new(store)
        .with_secure(false)
        .with_expiry(Expiry::OnInactivity(Duration::days(1)));
    let app = Router::new()
        .route("/session", get(show))
        .route("/login/{index}", post(log_in))
        .layer(layer)
        .with_state(Arc::new(Application { population, padding }));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(axum::serve::ListenerExt::tap_io(listener, |stream| drop(stream.set_nodelay(true))), app)
        .await?)
}

async fn show(
    State(application): State<Arc<Application>>,
    session: Session,
) -> std::result::Result<Response, StatusCode> {
    let login: Option<Login> = session.get("login").await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let session = login.ok_or(StatusCode::UNAUTHORIZED)?;
    Ok(Json(Answer { valid: true, session, padding: &application.padding }).into_response())
}

/// The session is in the store before the answer leaves: the layer sees to that, and answers 500 otherwise.
async fn log_in(
    State(application): State<Arc<Application>>,
    Path(index): Path<usize>,
    session: Session,
) -> std::result::Result<Response, StatusCode> {
    let login = login(&application.population, index);
    session.insert("login", &login).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(Json(Answer { valid: true, session: login, padding: &application.padding }).into_response())
}

fn login(population: &Population, index: usize) -> Login {
    Login {
        user_id: Population::user(index),
        tags: Population::tags(index),
        data: serde_json::from_str(&Population::data(index)).unwrap_or_default(),
        ip: Population::address(index),
        user_agent: population.agent(index).to_owned(),
        created_at: OffsetDateTime::now_utc().unix_timestamp().to_string(),
    }
}

/// Makes the sessions through the store's own code, many at a time.
async fn fill<S: SessionStore>(store: &S, options: &Filling) -> Result<()> {
    let population = &Population::new();
    let expiry_date = OffsetDateTime::now_utc() + Duration::days(1);
    let made = stream::iter(0..options.sessions).map(|index| async move {
        let value = serde_json::to_value(login(population, index)).unwrap_or_default();
        let id = i128::from(mix(index as u64).cast_signed()) << 64 | i128::from(mix(!(index as u64)));
        let mut record =
            Record { id: Id(id), data: HashMap::from([("login".to_owned(), value)]), expiry_date };
        store.create(&mut record).await.map(|()| record.id.to_string())
    });
    let mut made = std::pin::pin!(made.buffered(512));
    let (mut cookies, mut done) = (String::new(), 0_usize);
    while let Some(cookie) = made.next().await {
        cookies.push_str(&cookie?);
        cookies.push('\n');
        done += 1;
        if done.is_multiple_of(5000) {
            println!("filled {done}");
        }
    }
    Ok(std::fs::write(&options.cookies, cookies)?)
}
