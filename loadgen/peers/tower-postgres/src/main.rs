//! A peer: axum with tower-sessions on PostgreSQL, as its documentation sets it up: sqlx's pool of ten connections, one
//! SELECT per request, one INSERT per login.

#[path = "../../../src/population.rs"]
#[expect(dead_code, reason = "of the load generator's people only some things are needed here")]
mod population;
#[path = "../../../src/stats.rs"]
#[expect(dead_code, reason = "of its arithmetic only the spreading of numbers is needed here")]
mod stats;
#[path = "../../../src/tower_app.rs"]
mod tower_app;

use clap::Parser;
use tower_sessions_sqlx_store::PostgresStore;
use tower_sessions_sqlx_store::sqlx::PgPool;

/// The allocator of the server that it stands beside.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[derive(Parser)]
struct Options {
    /// Address of the database
    #[arg(long)]
    postgres: String,
    #[command(flatten)]
    filling: tower_app::Filling,
}

fn main() -> Result<()> {
    let options = Options::parse();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let store = PostgresStore::new(PgPool::connect(&options.postgres).await?);
        store.migrate().await?;
        tower_app::serve(store, &options.filling).await
    })
}
