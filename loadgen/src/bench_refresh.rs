//! Durable refresh: a refresh token is exchanged for the next pair, which is on the disk before it is answered. At 1 and at 64
//! connections, beside one fdatasync of the disk.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use crate::Result;
use crate::context::Context;
use crate::disk;
use crate::drive::{Drive, Source};
use crate::handstamp::Handstamp;
use crate::http::Answer;
use crate::population::Population;
use crate::report::{Row, number};
use crate::requests::Head;
use crate::rounds::middle;
use crate::stats::median;
use crate::tokens::Tokens;

const CONNECTIONS: [usize; 2] = [1, 64];
/// Sessions with a refresh token.
pub(crate) const FAMILIES: usize = 1000;

/// # Errors
/// When the server does not start, or a run fails.
pub(crate) async fn refresh(context: &Context) -> Result<()> {
    let data = context.fresh_folder("refresh")?;
    let server = Handstamp::start(context, &data, None)?;
    let (mut kept, _) = server.fill_with(context, FAMILIES, ",\"refresh\":true", &["refresh_token"]).await?;
    let kept = kept.pop().ok_or("no refresh tokens")?;
    let families = Rc::new(RefCell::new(Families::new(context, &server, &kept)));
    for connections in CONNECTIONS {
        let (mut runs, mut syncs) = (Vec::new(), Vec::new());
        let commits = server.metric("handstamp_commit_seconds_count").await?;
        for round in 1..=context.rounds {
            syncs.push(disk::probe(&data, context.repeat(500))?);
            let label = format!("refresh at {connections}, round {round} of {}", context.rounds);
            let drive = Drive {
                label: &label,
                addresses: &[server.address],
                connections,
                until: context.window(),
                watched: &[server.child.pid()],
            };
            runs.push(drive.run(families.clone()).await?);
            syncs.push(disk::probe(&data, context.repeat(500))?);
        }
        let what =
            format!("durable refresh at {connections} connection{}", if connections == 1 { "" } else { "s" });
        let mine = middle(&runs);
        // Each is a commit of its own, or what is measured is no durable refresh.
        let commits = server.metric("handstamp_commit_seconds_count").await? - commits;
        if commits < runs.iter().map(|run| run.requests).sum() {
            return Err(format!("{commits} commits, and more refreshes").into());
        }
        let mut report = context.report.borrow_mut();
        report.run(&what, connections, &mine);
        let row = Row::new(&what, "CPU us/request", mine.cpu_us);
        report.row(row.note(format!("{:.0} req/s", mine.per_second)));
        if connections == 1 {
            let sync = median(syncs.iter().map(|(p50, _)| p50 / 1000.0));
            let slow = median(syncs.iter().map(|(_, p99)| p99 / 1000.0));
            let row = Row::new(&format!("{what}, p50"), "us", mine.p50_us).against("fdatasync", sync);
            let note = format!("p99 {} against {} us", number(mine.p99_us), number(slow));
            report.row(row.note(note));
        }
    }
    server.child.stop("TERM")?;
    crate::context::remove(&data)
}

/// Each family is with one connection at a time, and goes on with the pair of its last answer.
pub(crate) struct Families {
    head: Head,
    population: Rc<Population>,
    /// The newest refresh token of each.
    tokens: Vec<Vec<u8>>,
    /// Those with no request under way, in the order of their turns.
    waiting: VecDeque<usize>,
    body: Vec<u8>,
}

impl Families {
    /// Those whose refresh tokens were kept, as they were numbered.
    pub(crate) fn new(context: &Context, server: &Handstamp, kept: &Tokens) -> Self {
        Self {
            head: Head::post("/v1/sessions/refresh", server.address, &server.key),
            population: context.population.clone(),
            tokens: (0..kept.len()).map(|index| kept.get(index).to_vec()).collect(),
            // Those before the first one were made for something else.
            waiting: (0..kept.len()).filter(|index| !kept.get(*index).is_empty()).collect(),
            body: Vec::new(),
        }
    }
}

impl Source for Families {
    fn next(&mut self, out: &mut Vec<u8>) -> Option<usize> {
        let index = self.waiting.pop_front()?;
        self.body.clear();
        self.population.refresh(index, self.tokens.get(index)?, &mut self.body);
        self.head.append(&self.body, out);
        Some(index)
    }

    fn check(&mut self, ticket: usize, answer: &Answer<'_>) -> std::result::Result<(), String> {
        let next = answer.text("refresh_token").unwrap_or_default();
        let old = self.tokens.get_mut(ticket).ok_or("no such family")?;
        let right = answer.status == 200
            && next.starts_with(b"hsr_")
            && next != old.as_slice()
            && answer.text("token").is_some_and(|token| token.starts_with(b"hst_"))
            && answer.text("user_id") == Some(Population::user(ticket).as_bytes());
        if !right {
            return Err(answer.complaint(&format!("the next pair of {}", Population::user(ticket))));
        }
        next.clone_into(old);
        self.waiting.push_back(ticket);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer that gives the old token again would keep the load from being what it says that it is.
    #[test]
    fn only_another_pair_is_the_next_pair() {
        let mut families = Families {
            head: Head::post("/", ([127, 0, 0, 1], 1).into(), ""),
            population: Rc::new(Population::new()),
            tokens: vec![b"hsr_1".to_vec()],
            waiting: VecDeque::from([0]),
            body: Vec::new(),
        };
        assert_eq!(families.next(&mut Vec::new()), Some(0));
        assert_eq!(families.next(&mut Vec::new()), None);
        let body = |token: &str| {
            format!(r#"{{"session":{{"user_id":"user-0000000"}},"token":"hst_x","refresh_token":"{token}"}}"#)
        };
        let mut check = |token: &str| {
            let body = body(token);
            families.check(0, &Answer { status: 200, head: b"", body: body.as_bytes() })
        };
        assert!(check("hsr_1").is_err());
        assert!(check("hst_2").is_err());
        assert!(check("hsr_2").is_ok());
        assert_eq!((families.tokens, families.waiting), (vec![b"hsr_2".to_vec()], VecDeque::from([0])));
    }
}
