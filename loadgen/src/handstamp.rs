//! The server under test: started on a folder of its own, filled through its own API, killed without warning.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::Result;
use crate::child::Child;
use crate::context::Context;
use crate::drive::{Drive, Figures, Until};
use crate::http::Connection;
use crate::requests::{Create, Pick, Prepared, Validate};
use crate::stats::Random;
use crate::tokens::Tokens;

/// Connections while a store is filled: enough that one sync carries many creations.
const FILL_CONNECTIONS: usize = 256;

pub(crate) struct Handstamp {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) key: String,
    pub(crate) spawned: Instant,
    /// Number of the next session to create.
    pub(crate) next: Rc<Cell<usize>>,
}

impl Handstamp {
    /// Starts it on `data`, which may be empty. `cache` bounds its cache, in bytes.
    ///
    /// # Errors
    /// When it does not say within a minute where it listens.
    pub(crate) fn start(context: &Context, data: &Path, cache: Option<usize>) -> Result<Self> {
        let (child, address, spawned) = Self::spawn(context, data, cache, |_| {})?;
        let key = std::fs::read_to_string(data.join("access.key"))?.trim().to_owned();
        Ok(Self { child, address, key, spawned, next: Rc::default() })
    }

    /// Starts it as a node on a store that it shares; `secrets` holds the master key and the first access key.
    ///
    /// # Errors
    /// When it does not say within a minute where it listens.
    pub(crate) fn join(
        context: &Context,
        data: &Path,
        cache: Option<usize>,
        store: &str,
        secrets: &Path,
    ) -> Result<Self> {
        let (master, access) = (secrets.join("master.key"), secrets.join("access.key"));
        let (child, address, spawned) = Self::spawn(context, data, cache, |command| {
            command.env("HANDSTAMP_STORE__URL", store);
            command.env("HANDSTAMP_SERVER__MASTER_KEY_FILE", &master);
            command.env("HANDSTAMP_BOOTSTRAP__ACCESS_KEY_FILE", &access);
        })?;
        let key = std::fs::read_to_string(access)?.trim().to_owned();
        Ok(Self { child, address, key, spawned, next: Rc::default() })
    }

    fn spawn(
        context: &Context,
        data: &Path,
        cache: Option<usize>,
        more: impl FnOnce(&mut Command),
    ) -> Result<(Child, SocketAddr, Instant)> {
        let name = format!("handstamp-{}", data.file_name().and_then(|name| name.to_str()).unwrap_or("data"));
        let spawned = Instant::now();
        let (pinning, server) = (&context.pinning, &context.options.server);
        let child = Child::start(&name, &pinning.server, &context.logs(), server, |command| {
            command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data);
            command.env("HANDSTAMP_FORWARD_AUTH__LISTEN", "off");
            if let Some(bytes) = cache {
                command.env("HANDSTAMP_CACHE__MAX_BYTES", bytes.to_string());
            }
            more(command);
        })?;
        let address = child.wait_line(Duration::from_secs(60), listening)?;
        Ok((child, address, spawned))
    }

    fn drive<'a>(
        &'a self,
        label: &'a str,
        connections: usize,
        until: Until,
        watched: &'a [u32],
    ) -> Drive<'a> {
        Drive { label, addresses: std::slice::from_ref(&self.address), connections, until, watched }
    }

    /// Creates `count` more sessions and answers one member of each answer: `token` or `id`, by session number.
    ///
    /// # Errors
    /// When one is not created.
    pub(crate) async fn fill(
        &self,
        context: &Context,
        count: usize,
        member: &'static str,
    ) -> Result<(Tokens, Figures)> {
        let (mut kept, figures) = self.fill_with(context, count, "", &[member]).await?;
        Ok((kept.pop().ok_or("nothing was kept")?, figures))
    }

    /// The same of sessions with which `more` is asked for, such as `,"refresh":true`; answers as many members.
    ///
    /// # Errors
    /// When one is not created.
    pub(crate) async fn fill_with(
        &self,
        context: &Context,
        count: usize,
        more: &'static str,
        members: &[&'static str],
    ) -> Result<(Vec<Tokens>, Figures)> {
        let end = self.next.get() + count;
        let source = Create::new(self.address, &self.key, context.population.clone(), self.next.clone(), end);
        let source = Rc::new(RefCell::new(source.asking(more).keeping(members)));
        let label = format!("handstamp: creating {count} sessions");
        let watched = [self.child.pid()];
        let drive = self.drive(&label, FILL_CONNECTIONS.min(count), Until::Empty { total: count }, &watched);
        let figures = drive.run(source.clone()).await?;
        let kept = source.borrow_mut().take();
        Ok((kept, figures))
    }

    /// A number of `/metrics`: the sum over all labels.
    ///
    /// # Errors
    /// When there is none of this name.
    pub(crate) async fn metric(&self, name: &str) -> Result<f64> {
        let request = format!(
            "GET /metrics HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\r\n",
            self.address, self.key
        );
        let mut connection = Connection::open(self.address).await?;
        let answer = connection.exchange(request.as_bytes()).await?;
        let page = String::from_utf8_lossy(answer.body);
        let values: Vec<f64> = page
            .lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])))
            .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
            .collect();
        if values.is_empty() { Err(answer.complaint(name).into()) } else { Ok(values.iter().sum()) }
    }

    /// Ends these sessions by id.
    ///
    /// # Errors
    /// When one is not ended.
    pub(crate) async fn end(&self, ids: &[String]) -> Result<()> {
        let paths = ids.iter().map(|id| (format!("/v1/sessions/{id}"), "\"ended\":1".to_owned())).collect();
        let source = Rc::new(RefCell::new(Prepared::new("DELETE", self.address, &self.key, paths)));
        let until = Until::Empty { total: ids.len() };
        self.drive("handstamp: ending sessions", FILL_CONNECTIONS, until, &[]).run(source).await?;
        Ok(())
    }

    /// Validates every session once, in batches: what is left in the cache is all of them.
    ///
    /// # Errors
    /// When one is not valid.
    pub(crate) async fn validate_each(
        &self,
        context: &Context,
        tokens: &Rc<Tokens>,
        label: &str,
    ) -> Result<Figures> {
        const BATCH: usize = 64;
        let source =
            self.validation(context, tokens, Pick::Each(0)).in_batches(BATCH, self.address, &self.key);
        let until = Until::Empty { total: tokens.len().div_ceil(BATCH) };
        self.drive(label, 8, until, &[self.child.pid()]).run(Rc::new(RefCell::new(source))).await
    }

    /// Validations of these sessions as a source of requests.
    pub(crate) fn validation(&self, context: &Context, tokens: &Rc<Tokens>, pick: Pick) -> Validate {
        Validate::new(self.address, &self.key, context.population.clone(), tokens.clone(), pick)
    }

    /// One validation's whole answer, head and body.
    ///
    /// # Errors
    /// When the session is not valid.
    pub(crate) async fn one_answer(
        &self,
        context: &Context,
        tokens: &Rc<Tokens>,
        index: usize,
    ) -> Result<(Vec<u8>, Vec<u8>)> {
        use crate::drive::Source;
        let mut source = self.validation(context, tokens, Pick::Each(index));
        let mut request = Vec::new();
        let ticket = source.next(&mut request).ok_or("no session to validate")?;
        let mut connection = Connection::open(self.address).await?;
        let answer = connection.exchange(&request).await?;
        source.check(ticket, &answer)?;
        Ok((answer.head.to_vec(), answer.body.to_vec()))
    }

    /// Some sessions, picked at random, are valid.
    ///
    /// # Errors
    /// When one is not.
    pub(crate) async fn sample(&self, context: &Context, tokens: &Rc<Tokens>) -> Result<()> {
        let mut random = Random::new(11);
        for _ in 0..100 {
            self.one_answer(context, tokens, random.below(tokens.len())).await?;
        }
        Ok(())
    }
}

/// The address in the line that says where a server listens.
pub(crate) fn listening(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("listening on http://")?;
    rest.split_whitespace().next()?.parse().ok()
}

/// A store filled with [`Context::sessions`] live sessions, and some ended ones.
pub(crate) struct Filled {
    pub(crate) data: PathBuf,
    pub(crate) tokens: Rc<Tokens>,
    /// Figures of the filling; none when the store was there already.
    pub(crate) creation: Option<Figures>,
}

impl Filled {
    /// How many ended sessions there are for the search to find.
    fn ended(context: &Context) -> usize {
        (context.sessions / 100).max(300)
    }

    /// Takes the kept store, or fills a new one. The server is stopped afterwards, so that what is measured next
    /// starts with a cold cache.
    ///
    /// # Errors
    /// When the server refuses a creation.
    pub(crate) async fn prepare(context: &Context) -> Result<Self> {
        let folder = context.folder(&format!("filled-{}", context.size()));
        let (data, file) = (folder.join("data"), folder.join("tokens.txt"));
        if context.options.keep_filled
            && let Ok(tokens) = Tokens::load(&file, context.sessions)
        {
            let tokens = Rc::new(tokens);
            let server = Handstamp::start(context, &data, None)?;
            // Kept for too long, sessions end by themselves; then it is filled anew.
            let alive = server.sample(context, &tokens).await;
            server.child.stop("TERM")?;
            if alive.is_ok() {
                return Ok(Self { data, tokens, creation: None });
            }
        }
        context.fresh_folder(&format!("filled-{}", context.size()))?;
        std::fs::create_dir_all(&data)?;
        let server = Handstamp::start(context, &data, None)?;
        // The ended ones first, with the numbers behind the live ones: the search finds them below a million others.
        server.next.set(context.sessions);
        let (ids, _) = server.fill(context, Self::ended(context), "id").await?;
        let ids: Vec<String> = (context.sessions..ids.len())
            .map(|index| String::from_utf8_lossy(ids.get(index)).into_owned())
            .collect();
        server.end(&ids).await?;
        server.next.set(0);
        let (tokens, creation) = server.fill(context, context.sessions, "token").await?;
        server.child.stop("TERM")?;
        tokens.save(&file)?;
        Ok(Self { data, tokens: Rc::new(tokens), creation: Some(creation) })
    }

    /// Removes it, unless it is to be kept.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(crate) fn leave(self, context: &Context) -> Result<()> {
        match (context.options.keep_filled, self.data.parent()) {
            (false, Some(folder)) => crate::context::remove(folder),
            _ => Ok(()),
        }
    }
}
