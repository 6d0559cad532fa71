//! From a configuration to a running server, and back: opened in order, closed in the reverse one.

use super::foreign::foreign;
use super::presence::{Announced, running};
use super::reread::reread;
use super::store::{self, Opened, Place};
use super::welcome::{self, Addresses};
use super::{files, logs, master_key};
use crate::app::App;
use crate::app::access_tokens::Makers;
use crate::app::erase::sha256;
use crate::app::open::{OpenError, Setup};
use crate::app::origins::FileOrigins;
use crate::cli::Failure;
use crate::config::browser::Browser;
use crate::config::cookie::Cookie;
use crate::config::network::ForwardedHeader;
use crate::config::reload::to_be_alike;
use crate::config::server::{Limits as Given, Server};
use crate::config::{Config, Origin, Sources};
use crate::host::clock::{Clock, pause};
use crate::host::entropy::{Entropy, SystemEntropy};
use crate::host::pages::{MANY, Small};
use crate::host::signals::{Stop, listen};
use crate::http::browser::Browsers;
use crate::http::cookie::Style;
use crate::http::listener::{self, Limits, Preface, Tls};
use crate::http::peer::{SaidIn, Trust};
use crate::http::{Door, Web, door};
use crate::store::Store;
use handstamp_core::secret::PlainToken;
use handstamp_core::time::Span;
use handstamp_core::token::keyring::MasterKey;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// How long the writing of activity may take at the end: with it the server leaves within 10 s of being told to.
const LAST_WRITES: Duration = Duration::from_secs(4);

/// Small pages of memory, until there is much to keep.
async fn grow(app: Arc<App>, pages: Option<Small>) {
    let Some(pages) = pages else { return };
    while app.cache_use().0 < MANY {
        pause(Duration::from_secs(1)).await;
    }
    pages.end();
}

/// Runs until told to stop.
///
/// # Errors
/// Why it could not start: one sentence, and the way out.
pub fn serve(config: Config, sources: Sources, pages: Option<Small>, json: bool) -> Result<(), Failure> {
    let logs = logs::start(&config.log);
    door::quiet_panics();
    config.warnings.iter().for_each(|line| tracing::warn!("{line}"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|why| Failure::new(format!("cannot start threads: {why}")))?;
    runtime.block_on(run(config, sources, logs, pages, json))
}

async fn run(
    config: Config,
    sources: Sources,
    logs: logs::Logs,
    pages: Option<Small>,
    json: bool,
) -> Result<(), Failure> {
    let (stop, reloads) = listen().map_err(|why| Failure::new(format!("cannot listen to signals: {why}")))?;
    let tls = tls(&config)?;
    // Whatever else can fail comes before the store is opened: the first start that opens it makes the first access key,
    // and must live to tell it.
    let socket = bind(config.server.listen, "--listen ADDRESS:PORT", &config).await?;
    let metrics = match config.metrics.listen {
        Some(address) => Some(bind(address, "`[metrics] listen`", &config).await?),
        None => None,
    };
    let proxies = forward_auth(&config).await?;
    let address =
        socket.local_addr().map_err(|why| Failure::new(format!("cannot tell the address: {why}")))?;
    let (app, mut first, opened) = open(&config).await?;
    let app = Arc::new(app);
    app.set_privacy(config.privacy);
    app.set_configuration(sha256(to_be_alike(&config).as_bytes()));
    app.set_anonymous_limit(config.browser.anonymous_limit);

    let scheme = if tls.is_some() { "https" } else { "http" };
    let announced = Announced::new(&store::seat(&config), &format!("{scheme}://{address}"));
    if let Err(why) = &announced {
        tracing::warn!(%why, "other commands will not find this process");
    }
    let (house, keeping) = tokio::sync::watch::channel(false);
    let keeper = tokio::spawn({
        let app = app.clone();
        async move { app.keep_house(keeping).await }
    });
    let growing = tokio::spawn(grow(app.clone(), pages));
    // Beside housekeeping, and longer: as long as anything is read or written.
    let (up, keeping_up) = tokio::sync::watch::channel(false);
    let listener = tokio::spawn({
        let app = app.clone();
        async move { app.keep_up(keeping_up).await }
    });
    let mut seed = [0; 8];
    let _ = SystemEntropy.fill(&mut seed);
    let web = Web::new(app.clone(), style(&config.cookie), u64::from_be_bytes(seed)).beside(foreign(&app));
    let trust = trust(&config.server);
    let preface = config.server.proxy_protocol.then(|| Arc::new(trust.proxies.clone()));
    let web = Arc::new(web.behind(trust).for_browsers(browsers(&config)).over_tls(tls.is_some()));
    let limits = limits(&config.server.limits);
    let environment = sources.environment.clone();
    let rereader = tokio::spawn(reread(reloads, config.clone(), sources, logs, app.clone(), tls.clone()));

    let asked = proxies.as_ref().and_then(|socket| socket.local_addr().ok());
    welcome::print(
        &config,
        &environment,
        Addresses { main: address, forward_auth: asked },
        first.take().as_ref(),
        json,
    );
    tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "serving");
    let leaving = tokio::spawn({
        let (app, mut stop) = (app.clone(), stop.clone());
        async move {
            stop.begun().await;
            app.leave();
        }
    });
    let sockets = Sockets { main: socket, proxies, metrics };
    let drained = serve_all(sockets, Preface { proxies: preface, tls }, web, limits, stop).await;
    tracing::info!(open = drained.open, cut = drained.cut, "no longer serving");

    rereader.abort();
    growing.abort();
    leaving.abort();
    let _ = house.send(true);
    let _ = keeper.await;
    match app.flush_all_activity(LAST_WRITES).await {
        Ok((written, 0)) => tracing::info!(written, "activity written"),
        Ok((written, left)) => {
            tracing::warn!(written, left, "the last minutes of activity of some sessions were not written")
        }
        Err(error) => {
            tracing::error!(%error, "activity could not be written; some sessions look idle since their last written activity")
        }
    }
    drop(announced);
    let _ = up.send(true);
    let _ = listener.await;
    app.close().await;
    // With the lock of its data directory.
    drop(opened);
    Ok(())
}

/// Where it listens.
struct Sockets {
    main: TcpListener,
    /// For proxies that ask for verdicts.
    proxies: Option<TcpListener>,
    metrics: Option<TcpListener>,
}

/// Serves the main listener, and beside it those that there are.
async fn serve_all(
    sockets: Sockets,
    preface: Preface,
    web: Arc<Web>,
    limits: Limits,
    stop: Stop,
) -> listener::Drained {
    let Sockets { main, proxies, metrics } = sockets;
    let door = if metrics.is_some() { Door::without_metrics(web.clone()) } else { Door::new(web.clone()) };
    // Proxies and monitors come as they are, on every listener but the main one.
    let beside = |socket: Option<TcpListener>, door: Door, what: &'static str| {
        let (limits, stop) = (limits.clone(), stop.clone());
        async move {
            let Some(socket) = socket else { return };
            if let Ok(address) = socket.local_addr() {
                tracing::info!(%address, "serving {what}");
            }
            listener::serve(socket, Preface::default(), door, limits, stop).await;
        }
    };
    let metrics = beside(metrics, Door::of_metrics(web.clone()), "metrics");
    let proxies = beside(proxies, Door::of_forward_auth(web), "forward-auth");
    let main = listener::serve(main, preface, door, limits.clone(), stop.clone());
    tokio::join!(main, proxies, metrics).0
}

/// The listener of proxies. Where nobody chose its address, another server may have the port already: that one does
/// without, because whoever starts a second server beside the first has only said where the main listener is to be.
async fn forward_auth(config: &Config) -> Result<Option<TcpListener>, Failure> {
    let Some(address) = config.forward_auth.listen else { return Ok(None) };
    let chosen = config
        .entries
        .iter()
        .any(|entry| entry.path == "forward_auth.listen" && !matches!(entry.origin, Origin::Default));
    match bind(address, "`[forward_auth] listen`", config).await {
        Ok(socket) => Ok(Some(socket)),
        Err(failure) if chosen => Err(failure),
        Err(_) => {
            tracing::warn!(
                "no proxy can ask for verdicts: cannot listen on {address}, which another program may use; choose \
                 another address with `[forward_auth] listen` (port 0 picks one), or \"off\""
            );
            Ok(None)
        }
    }
}

/// Opens the service; the first access key on the first start.
async fn open(config: &Config) -> Result<(App, Option<PlainToken>, Opened), Failure> {
    files::data_dir(config)?;
    let place = Place::of(config)?;
    let whose = match &place {
        Place::File(path) if path.exists() => files::Store::There,
        Place::File(_) => files::Store::New,
        Place::Postgres(_) => files::Store::Shared,
    };
    let master = files::master_key(config, whose, &SystemEntropy)?;
    let opened = store::open(config, &place).await?;
    opened.warnings.iter().for_each(|line| tracing::warn!("{line}"));
    let master = master_key::settle(&*opened.store, config, master).await?;
    let name = opened.name.clone();
    let setup = setup(config, opened.store.clone(), opened.clock(), master);
    let mut failure = None;
    let mut first = None;
    let outcome = App::open(setup, || {
        let parts = files::first_key(config, &SystemEntropy).map_err(|why| {
            failure = Some(why);
            OpenError::Prepared
        })?;
        first = Some(parts.text());
        Ok(parts)
    })
    .await;
    match outcome {
        Ok((app, _)) => Ok((app, first, opened)),
        Err(OpenError::Prepared) => Err(failure.unwrap_or_else(|| Failure::new("the first access key could not be made"))),
        Err(OpenError::WrongMasterKey) => Err(Failure::new(format!(
            "{name} was made with another master key than the one given"
        ))
        .help("give the master key that was made with this store (master.key of its data directory), or another data directory")),
        Err(OpenError::Fault(why)) => Err(Failure::new(format!("{name}: {why}"))
            .help("`handstamp doctor` looks closer; a backup can be put back with `handstamp restore`")),
    }
}

/// What the service is made of, by this configuration.
pub(super) fn setup(
    config: &Config,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    master: MasterKey,
) -> Setup {
    Setup {
        store,
        clock,
        entropy: Arc::new(SystemEntropy),
        master,
        policy: config.policy.in_force(),
        types: config.session_types.in_force(),
        origins: origins(config),
        tokens: tokens(config),
        cache_bytes: config.cache.max_bytes,
        retention: config.history.retention,
    }
}

/// What the configuration lists of origins.
pub(super) fn origins(config: &Config) -> FileOrigins {
    FileOrigins { cors: config.cors.origins.clone(), redirect: config.login.redirect_origins.clone() }
}

/// What the configuration says of access tokens.
fn tokens(config: &Config) -> Makers {
    Makers { issuer: config.tokens.issuer.clone(), algorithm: config.tokens.algorithm }
}

async fn bind(address: SocketAddr, setting: &str, config: &Config) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|why| {
        // The same server twice is the commonest reason, and then the port is not what to change.
        let path = store::seat(config);
        if let Some(other) = running(&path) {
            let pid = other.pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
            let place = other.url.map_or_else(String::new, |url| format!(" at {url}"));
            let path = path.display();
            return Failure::new(format!(
                "{path} is in use: another Handstamp{pid} serves it{place}; so this one cannot listen on {address} ({why})"
            ))
            .help("stop that one first, or give this one another data directory and another port");
        }
        Failure::new(format!("cannot listen on {address}: {why}")).help(format!(
            "another program may use the port; choose another one with {setting} (port 0 picks one)"
        ))
    })
}

fn tls(config: &Config) -> Result<Option<Tls>, Failure> {
    let Some(files) = &config.server.tls else { return Ok(None) };
    Tls::load(files.cert.clone(), files.key.clone()).map(Some).map_err(|why| Failure::new(why.to_string()))
}

fn style(cookie: &Cookie) -> Style {
    Style {
        name: cookie.name.clone(),
        same_site: cookie.same_site.word(),
        domain: cookie.domain.clone(),
        secure: cookie.secure,
        partitioned: cookie.partitioned,
        csrf_name: cookie.csrf_cookie.clone(),
        csrf_header: cookie.csrf_header.clone(),
        csrf_domain: cookie.csrf_domain.clone(),
    }
}

fn browsers(config: &Config) -> Browsers {
    let Browser { environment, expose, clear_site_data, fresh_login, anonymous_limit: _ } = &config.browser;
    Browsers {
        environments: environment.clone(),
        expose: expose.clone(),
        login: config.login.url.clone(),
        clear_site_data: *clear_site_data,
        fresh_login: *fresh_login,
    }
}

fn trust(server: &Server) -> Trust {
    let said_in = match server.forwarded_header {
        ForwardedHeader::XForwardedFor => SaidIn::XForwardedFor,
        ForwardedHeader::Forwarded => SaidIn::Forwarded,
    };
    Trust { proxies: server.trusted_proxies.iter().copied().collect(), said_in }
}

fn limits(given: &Given) -> Limits {
    let duration = |span: Span| Duration::from_millis(u64::try_from(span.0).unwrap_or(0));
    let count = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    Limits {
        header_read: duration(given.header_timeout),
        body_read: duration(given.body_timeout),
        idle: duration(given.idle_timeout),
        max_connections: count(given.max_connections),
        max_connections_per_peer: count(given.max_connections_per_address),
        header_bytes: count(given.max_header_bytes),
        drain: Duration::from_secs(5),
        ..Limits::default()
    }
}
