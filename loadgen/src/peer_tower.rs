//! A peer: axum with tower-sessions on Redis, as its documentation sets it up. One GET to Redis per request, over one
//! pipelined connection.

use clap::Args;
use tower_sessions_redis_store::RedisStore;
use tower_sessions_redis_store::fred::clients::Client;
use tower_sessions_redis_store::fred::interfaces::ClientLike;
use tower_sessions_redis_store::fred::types::config::Config;

use crate::Result;
use crate::tower_app::{self, Filling};

#[derive(Args)]
pub(crate) struct Options {
    /// Port of Redis on the loopback
    #[arg(long)]
    redis: u16,
    #[command(flatten)]
    filling: Filling,
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
    tower_app::serve(RedisStore::new(client), &options.filling).await
}
