//! A peer: axum with tower-sessions on Redis, as its documentation sets it up. One GET to Redis per request.
//!
//! Cheaper than what many run: one pipelined connection to Redis, no save unless the session changed (so the idle time
//! is not extended by use, which Handstamp does), no check of address or agent.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use clap::Args;
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use tokio::net::TcpListener;
use tower_sessions::session::{Id, Record};
use tower_sessions::{Expiry, Session, SessionManagerLayer, SessionStore};
use tower_sessions_redis_store::RedisStore;
use tower_sessions_redis_store::fred::clients::Client;
use tower_sessions_redis_store::fred::interfaces::ClientLike;
use tower_sessions_redis_store::fred::types::config::Config;

use crate::Result;
use crate::population::Population;
use crate::stats::mix;

#[derive(Args)]
pub(crate) struct Options {
    /// Port of Redis on the loopback
    #[arg(long)]
    redis: u16,
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

/// Serves until it is killed.
///
/// # Errors
/// When Redis is not there, or the cookies cannot be written.
pub(crate) fn serve(options: &Options) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(start(options))
}

async fn start(options: &Options) -> Result<()> {
    let client =
        Client::new(Config::from_url(&format!("redis://127.0.0.1:{}", options.redis))?, None, None, None);
    client.init().await?;
    let store = RedisStore::new(client);
    fill(&store, options).await?;
    let sample = Answer { valid: true, session: login(&Population::new(), 0), padding: "" };
    let padding = "x".repeat(options.answer_bytes.saturating_sub(serde_json::to_vec(&sample)?.len()));
    let layer = SessionManagerLayer::new(store)
        .with_secure(false)
        .with_expiry(Expiry::OnInactivity(Duration::days(1)));
    let app = Router::new().route("/session", get(show)).layer(layer).with_state(Arc::<str>::from(padding));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(axum::serve::ListenerExt::tap_io(listener, |stream| drop(stream.set_nodelay(true))), app)
        .await?)
}

async fn show(
    State(padding): State<Arc<str>>,
    session: Session,
) -> std::result::Result<axum::response::Response, StatusCode> {
    let login: Option<Login> = session.get("login").await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let session = login.ok_or(StatusCode::UNAUTHORIZED)?;
    Ok(axum::response::IntoResponse::into_response(Json(Answer { valid: true, session, padding: &padding })))
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
async fn fill(store: &RedisStore<Client>, options: &Options) -> Result<()> {
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
