//! What a policy costs a validation: the same sessions with five tags on two servers, one without any policy and one with
//! sections for all five tags and ten thousand networks, asked in turn.

use std::rc::Rc;

use crate::Result;
use crate::bench_validate::ours;
use crate::context::Context;
use crate::handstamp::Handstamp;
use crate::http::Connection;
use crate::report::Row;
use crate::rounds::rounds;
use crate::stats::mix;
use crate::tokens::Tokens;

/// Sessions of each server: as many as one call may change.
const SESSIONS: usize = 1000;
/// Networks of the list; the sessions come from one of them.
const NETWORKS: usize = 10_000;
/// What each session carries beside its two tags.
const TAGS: &str = r#"["plan:team","region:eu","team:blue"]"#;

/// Both servers, and what the difference is.
///
/// # Errors
/// When a server does not start, refuses what it is told, or a run fails.
pub(crate) async fn cost(context: &Context) -> Result<()> {
    let (plain, plain_tokens) = prepared(context, "policy-none").await?;
    let (ruled, ruled_tokens) = prepared(context, "policy-five").await?;
    tell(&ruled, "PUT", "/v1/policies", &policy()).await?;
    let what = "validate with five tags";
    let entrants = [
        ours(context, &plain, &plain_tokens, 1).named("handstamp, no policy"),
        ours(context, &ruled, &ruled_tokens, 1).named("handstamp, five sections, 10,000 networks"),
    ];
    let medians = rounds(context, what, context.connections, &entrants).await?;
    if let [without, with] = medians.as_slice() {
        let added = with.cpu_us - without.cpu_us;
        let row = Row::new("what a policy adds to a validation", "CPU us/request", added).at_most(1.0);
        let note = format!("{:.2} with, {:.2} without", with.cpu_us, without.cpu_us);
        context.report.borrow_mut().row(row.note(note));
    }
    drop(entrants);
    for server in [plain, ruled] {
        server.child.stop("TERM")?;
    }
    for name in ["policy-none", "policy-five"] {
        crate::context::remove(&context.folder(name))?;
    }
    Ok(())
}

async fn prepared(context: &Context, name: &str) -> Result<(Handstamp, Rc<Tokens>)> {
    let server = Handstamp::start(context, &context.fresh_folder(name)?, None)?;
    let (tokens, _) = server.fill(context, SESSIONS, "token").await?;
    let more =
        format!(r#"{{"filter":{{"after":"2020-01-01T00:00:00Z"}},"update":{{"tags":{{"add":{TAGS}}}}}}}"#);
    tell(&server, "POST", "/v1/sessions/update", &more).await?;
    Ok((server, Rc::new(tokens)))
}

async fn tell(server: &Handstamp, method: &str, path: &str, body: &str) -> Result<()> {
    let Handstamp { address, key, .. } = server;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut connection = Connection::open(*address).await?;
    let answer = connection.exchange(request.as_bytes()).await?;
    if answer.status == 200 { Ok(()) } else { Err(answer.complaint("200").into()) }
}

/// Every value has to be found among several sections, and the address in each of two long lists.
fn policy() -> String {
    let networks = |seed: u64| {
        let some = (1..NETWORKS as u64).map(|n| {
            let [a, b, c, ..] = mix(n ^ seed).to_be_bytes();
            format!("\"{}.{b}.{c}.0/24\"", 11 + a % 200)
        });
        some.chain(["\"10.0.0.0/8\"".to_owned()]).collect::<Vec<_>>().join(",")
    };
    format!(
        r#"{{"default":{{"ip_change":"log","user_agent":"end"}},"tag":{{
            "role:*":{{"idle_timeout":"12h","absolute_timeout":"20d","rotate_every":"1h"}},
            "org:*":{{"idle_timeout":"13h","ip_allow":[{}]}},
            "plan:team":{{"idle_timeout":"14h","rotation_grace":"30s"}},
            "region:*":{{"absolute_timeout":"25d","ip_change":"reauthenticate"}},
            "team:blue":{{"max_sessions":8,"user_agent":"refuse"}}}}}}"#,
        networks(7)
    )
}
