//! What it costs to make an access token, and to verify one in the application's own process with the crate `handstamp`: the
//! first time, and again. Alone, without a server to measure: a small one of its own says what the verifier has to hear.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa;
use handstamp::{Claims, Demand, Local, Members, Millis, Verifier};
use handstamp_core::id::{Bucket, SessionId};
use handstamp_core::jose::claims::TYPE;
use handstamp_core::jose::jws;
use handstamp_core::jose::key::SigningKey;
use handstamp_core::secret::Secret;
use serde::Serialize;

use crate::Result;
use crate::stats::median;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Tokens of each algorithm
    #[arg(long, default_value_t = 2_000)]
    pub(crate) tokens: u64,
    /// Looks at tokens that were verified before
    #[arg(long, default_value_t = 2_000_000)]
    pub(crate) again: usize,
    /// Threads that look at the same time, in the last figure
    #[arg(long, default_value_t = 8)]
    pub(crate) threads: usize,
}

/// All in nanoseconds for one token; medians.
#[derive(Serialize)]
pub(crate) struct Figures {
    token_bytes: usize,
    pub(crate) mint_eddsa: f64,
    pub(crate) mint_es256: f64,
    pub(crate) mint_rs256: f64,
    pub(crate) first_eddsa: f64,
    pub(crate) first_es256: f64,
    pub(crate) first_rs256: f64,
    /// The same token again and again.
    pub(crate) again_same: f64,
    /// A thousand tokens in turn.
    pub(crate) again_thousand: f64,
    /// The same by many threads at once: time of the wall, for each look of each thread.
    again_threads: f64,
    threads: usize,
    /// What the cache keeps, at the end.
    kept: usize,
    kept_bytes: usize,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    println!("{}", serde_json::to_string(&measure(options)?)?);
    Ok(())
}

/// Measures it; outside of any runtime, because it has one of its own.
///
/// # Errors
/// When a good token is not verified.
pub(crate) fn measure(options: &Options) -> Result<Figures> {
    let keys = keys()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let url = serve(&keys)?;
    let verifier = runtime.block_on(async {
        let verifier = Verifier::builder(&url, "hsk_measured").cache(64 << 20).build().await?;
        verifier.trusted(Duration::from_secs(5)).await.map_err(|doubt| doubt.to_string())?;
        Ok::<_, Box<dyn std::error::Error>>(verifier)
    })?;
    let mut made = Vec::new();
    let (mut mint, mut first) = (Vec::new(), Vec::new());
    for key in keys.iter() {
        let (tokens, nanos) = timed(options.tokens, |n| token(key, n));
        let tokens: Vec<String> = tokens.into_iter().collect::<Result<_>>()?;
        mint.push(nanos);
        let (words, nanos) = timed(options.tokens, |n| passes(&verifier, pick(&tokens, n)));
        require(words.iter().all(|word| *word))?;
        first.push(nanos);
        made.push(tokens);
    }
    let tokens = made.first().ok_or("no tokens")?;
    let looks = u64::try_from(options.again)?;
    let (same, again_same) = timed(looks, |_| passes(&verifier, pick(tokens, 0)));
    let (thousand, again_thousand) = timed(looks, |n| passes(&verifier, pick(tokens, n % 1_000)));
    require(same.iter().chain(&thousand).all(|word| *word))?;
    let begun = Instant::now();
    let all = std::thread::scope(|threads| {
        let handles: Vec<_> = (0..options.threads)
            .map(|_| {
                let verifier = &verifier;
                threads.spawn(move || (0..looks).all(|n| passes(verifier, pick(tokens, n % 1_000))))
            })
            .collect();
        handles.into_iter().all(|thread| thread.join().unwrap_or(false))
    });
    require(all)?;
    let again_threads = nanos(begun, looks);
    let (kept, kept_bytes) = verifier.status().signatures;
    let figure = |all: &[f64], at: usize| all.get(at).copied().unwrap_or(f64::NAN);
    Ok(Figures {
        token_bytes: pick(tokens, 0).len(),
        mint_eddsa: figure(&mint, 0),
        mint_es256: figure(&mint, 1),
        mint_rs256: figure(&mint, 2),
        first_eddsa: figure(&first, 0),
        first_es256: figure(&first, 1),
        first_rs256: figure(&first, 2),
        again_same,
        again_thousand,
        again_threads,
        threads: options.threads,
        kept,
        kept_bytes,
    })
}

/// Does it so many times, in batches; the median of what one takes. Batches are shorter than a turn of the scheduler, so what else
/// the machine does is in few of them.
fn timed<T>(times: u64, mut work: impl FnMut(u64) -> T) -> (Vec<T>, f64) {
    let batch = (times / 2_000).max(1);
    let mut all = Vec::with_capacity(usize::try_from(times).unwrap_or(0));
    let mut each = Vec::new();
    for from in (0..times).step_by(usize::try_from(batch).unwrap_or(1)) {
        let until = (from + batch).min(times);
        let begun = Instant::now();
        for n in from..until {
            all.push(work(n));
        }
        each.push(nanos(begun, until - from));
    }
    (all, median(each))
}

fn nanos(begun: Instant, times: u64) -> f64 {
    let rounds = f64::from(u32::try_from(times.max(1)).unwrap_or(u32::MAX));
    begun.elapsed().as_secs_f64() * 1e9 / rounds
}

fn pick(tokens: &[String], n: u64) -> &str {
    usize::try_from(n).ok().and_then(|n| tokens.get(n % tokens.len().max(1))).map_or("", String::as_str)
}

fn passes(verifier: &Verifier, token: &str) -> bool {
    matches!(verifier.verify_now(token, &Demand::default()), Local::Verified(_))
}

fn require(all: bool) -> Result<()> {
    if all { Ok(()) } else { Err("a good token was not verified".into()) }
}

/// One of each algorithm; RSA as long as the server's.
fn keys() -> Result<Arc<[SigningKey; 3]>> {
    let broken = |_| "no key";
    let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa3072).map_err(|_| "no RSA key")?;
    let der = pair.as_der().map_err(|_| "no RSA key")?;
    Ok(Arc::new([
        SigningKey::ed25519(&Secret::new([7; 32])).map_err(broken)?,
        SigningKey::es256(&Secret::new([7; 32])).map_err(broken)?,
        SigningKey::rs256(der.as_ref()).map_err(broken)?,
    ]))
}

fn now() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

fn token(key: &SigningKey, n: u64) -> Result<String> {
    let [a, b, c, d, e, f, g, h] = n.to_be_bytes();
    let at = now()?;
    let claims = Claims {
        issuer: "handstamp:default/prd".to_owned(),
        audience: vec!["default/prd".to_owned()],
        subject: format!("user-{n}"),
        session: SessionId::new(Millis(1_700_000_000_000), Bucket::new(1), [a, b, c, d, e, f, g, h, 0]),
        issued_at: at,
        not_before: at,
        expires_at: at + 3_600,
        id: format!("measured-{n}"),
        tags: vec!["org:acme".to_owned(), "role:admin".to_owned()],
        groups: vec!["staff".to_owned()],
        methods: vec!["pwd".to_owned()],
        level: Some(1),
        authenticated_at: Millis(i64::try_from(at)?.saturating_mul(1_000)),
        actor: None,
        epoch: 4,
        data: None,
        status: None,
        custom: Members::default(),
    };
    jws::sign(key, TYPE, claims.write().as_bytes()).map_err(|_| "a key does not sign".into())
}

/// Says what a verifier has to hear: the keys, and four times a second that nothing was revoked.
fn serve(keys: &Arc<[SigningKey; 3]>) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    let set: Vec<String> = keys.iter().map(|key| key.public().to_jwk()).collect();
    let set = format!("{{\"keys\":[{}]}}", set.join(","));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let set = set.clone();
            // Whoever hangs up has heard enough.
            std::thread::spawn(move || answer(stream, &set).is_ok());
        }
    });
    Ok(url)
}

fn answer(mut stream: TcpStream, set: &str) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let mut line = String::new();
        while reader.read_line(&mut line)? > 2 {
            line.clear();
        }
        if !first.contains("/v1/revocations") {
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{set}", set.len())?;
            continue;
        }
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")?;
        write!(stream, "data: {{\"reset\":true}}\n\n")?;
        loop {
            let as_of = Millis(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?);
            write!(stream, "data: {{\"as_of\":\"{as_of}\"}}\n\n")?;
            std::thread::sleep(Duration::from_millis(250));
        }
    }
}
