//! The requests of each workload, and how to tell a right answer from a wrong one.

use std::cell::Cell;
use std::io::Write;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::drive::Source;
use crate::http::{Answer, count};
use crate::population::Population;
use crate::stats::Random;
use crate::tokens::Tokens;

/// In the body of every answer that lets a request pass.
const VALID: &str = "\"valid\":true";

/// The head of requests to one path, rendered once.
pub(crate) struct Head(Vec<u8>);

impl Head {
    pub(crate) fn post(path: &str, address: SocketAddr, key: &str) -> Self {
        Self::of("POST", path, address, key)
    }

    pub(crate) fn of(method: &str, path: &str, address: SocketAddr, key: &str) -> Self {
        Self(format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\ncontent-length: "
        ).into_bytes())
    }

    pub(crate) fn append(&self, body: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
        // Writing to a Vec cannot fail.
        let _ = write!(out, "{}\r\n\r\n", body.len());
        out.extend_from_slice(body);
    }
}

/// Which session a request asks for.
pub(crate) enum Pick {
    /// Any, each as likely.
    Random(Random),
    /// Each once, in order.
    Each(usize),
}

impl Pick {
    pub(crate) fn next(&mut self, count: usize) -> Option<usize> {
        match self {
            Self::Random(random) => Some(random.below(count)),
            Self::Each(next) => (*next < count).then(|| {
                *next += 1;
                *next - 1
            }),
        }
    }
}

/// Creates the sessions from `next` to `end`, and keeps members of the answers when asked to.
pub(crate) struct Create {
    head: Head,
    population: Rc<Population>,
    first: usize,
    next: Rc<Cell<usize>>,
    end: usize,
    body: Vec<u8>,
    /// What is asked for beside the session: more members of the body, each after a comma.
    more: &'static str,
    kept: Vec<(&'static str, Tokens)>,
}

impl Create {
    /// `next` is shared, so that runs which follow each other on one store create different sessions.
    pub(crate) fn new(
        address: SocketAddr,
        key: &str,
        population: Rc<Population>,
        next: Rc<Cell<usize>>,
        end: usize,
    ) -> Self {
        let head = Head::post("/v1/sessions", address, key);
        Self { head, population, first: next.get(), next, end, body: Vec::new(), more: "", kept: Vec::new() }
    }

    /// Asks for more than a session, such as `,"refresh":true`.
    pub(crate) fn asking(mut self, more: &'static str) -> Self {
        self.more = more;
        self
    }

    /// Keeps these members of each answer, such as `token` and `id`; without one of them the answer is wrong.
    pub(crate) fn keeping(mut self, members: &[&'static str]) -> Self {
        self.kept = members.iter().map(|member| (*member, Tokens::with_room(self.end))).collect();
        self
    }

    /// What was kept, in the order in which it was asked for.
    pub(crate) fn take(&mut self) -> Vec<Tokens> {
        std::mem::take(&mut self.kept).into_iter().map(|(_, tokens)| tokens).collect()
    }
}

impl Source for Create {
    fn next(&mut self, out: &mut Vec<u8>) -> Option<usize> {
        let turn = self.next.get();
        if turn >= self.end {
            return None;
        }
        self.next.set(turn + 1);
        let index = self.first + Population::in_turn(turn - self.first, self.end - self.first);
        self.body.clear();
        self.population.creation(index, &mut self.body);
        if !self.more.is_empty() {
            self.body.pop();
            self.body.extend_from_slice(self.more.as_bytes());
            self.body.push(b'}');
        }
        self.head.append(&self.body, out);
        Some(index)
    }

    fn check(&mut self, ticket: usize, answer: &Answer<'_>) -> Result<(), String> {
        if answer.status != 201 || answer.text("token").is_none() {
            return Err(answer.complaint("201 with a token"));
        }
        for (member, kept) in &mut self.kept {
            let value = answer.text(member).ok_or_else(|| answer.complaint(&format!("201 with {member}")))?;
            kept.set(ticket, value);
        }
        Ok(())
    }
}

/// Validates `batch` tokens a request; one is the plain call.
pub(crate) struct Validate {
    head: Head,
    population: Rc<Population>,
    tokens: Rc<Tokens>,
    pick: Pick,
    batch: usize,
    whose: bool,
    body: Vec<u8>,
}

impl Validate {
    pub(crate) fn new(
        address: SocketAddr,
        key: &str,
        population: Rc<Population>,
        tokens: Rc<Tokens>,
        pick: Pick,
    ) -> Self {
        let head = Head::post("/v1/sessions/validate", address, key);
        Self { head, population, tokens, pick, batch: 1, whose: true, body: Vec::new() }
    }

    pub(crate) fn in_batches(mut self, batch: usize, address: SocketAddr, key: &str) -> Self {
        self.head = Head::post("/v1/sessions/validate-batch", address, key);
        self.batch = batch;
        self.whose = false;
        self
    }

    /// For a server that gives everybody the same answer.
    pub(crate) fn of_anybody(mut self) -> Self {
        self.whose = false;
        self
    }
}

impl Source for Validate {
    fn next(&mut self, out: &mut Vec<u8>) -> Option<usize> {
        self.body.clear();
        let total = self.tokens.len();
        if self.batch == 1 {
            let index = self.pick.next(total)?;
            self.population.validation(index, self.tokens.get(index), &mut self.body);
            self.head.append(&self.body, out);
            return Some(index);
        }
        let mut asked = 0;
        self.body.extend_from_slice(b"{\"requests\":[");
        while asked < self.batch
            && let Some(index) = self.pick.next(total)
        {
            if asked > 0 {
                self.body.push(b',');
            }
            self.population.validation(index, self.tokens.get(index), &mut self.body);
            asked += 1;
        }
        self.body.extend_from_slice(b"]}");
        self.head.append(&self.body, out);
        (asked > 0).then_some(asked)
    }

    fn check(&mut self, ticket: usize, answer: &Answer<'_>) -> Result<(), String> {
        if answer.status != 200 {
            return Err(answer.complaint("200"));
        }
        if self.batch > 1 {
            let valid = count(answer.body, VALID.as_bytes());
            return if valid == ticket {
                Ok(())
            } else {
                Err(answer.complaint(&format!("{ticket} valid sessions")))
            };
        }
        if !answer.holds(VALID) {
            return Err(answer.complaint(VALID));
        }
        if self.whose && answer.text("user_id") != Some(Population::user(ticket).as_bytes()) {
            return Err(answer.complaint(&format!("a session of {}", Population::user(ticket))));
        }
        Ok(())
    }
}

/// Asks a peer who is logged in, with the peer's own cookie.
pub(crate) struct Cookie {
    start: Vec<u8>,
    population: Rc<Population>,
    cookies: Rc<Tokens>,
    pick: Pick,
}

impl Cookie {
    pub(crate) fn new(
        address: SocketAddr,
        name: &str,
        population: Rc<Population>,
        cookies: Rc<Tokens>,
        pick: Pick,
    ) -> Self {
        let start = format!("GET /session HTTP/1.1\r\nhost: {address}\r\ncookie: {name}=").into_bytes();
        Self { start, population, cookies, pick }
    }
}

impl Source for Cookie {
    fn next(&mut self, out: &mut Vec<u8>) -> Option<usize> {
        let index = self.pick.next(self.cookies.len())?;
        out.extend_from_slice(&self.start);
        out.extend_from_slice(self.cookies.get(index));
        out.extend_from_slice(b"\r\nuser-agent: ");
        out.extend_from_slice(self.population.agent(index).as_bytes());
        out.extend_from_slice(b"\r\n\r\n");
        Some(index)
    }

    fn check(&mut self, ticket: usize, answer: &Answer<'_>) -> Result<(), String> {
        let right = answer.status == 200
            && answer.holds(VALID)
            && answer.text("user_id") == Some(Population::user(ticket).as_bytes());
        if right {
            Ok(())
        } else {
            Err(answer.complaint(&format!("a session of {}", Population::user(ticket))))
        }
    }
}

/// A list of prepared requests without a body, each with what its answer must hold.
pub(crate) struct Prepared {
    requests: Vec<(Vec<u8>, String)>,
    next: usize,
}

impl Prepared {
    pub(crate) fn new(method: &str, address: SocketAddr, key: &str, paths: Vec<(String, String)>) -> Self {
        let render = |(path, holds): (String, String)| {
            let head =
                format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\r\n");
            (head.into_bytes(), holds)
        };
        Self { requests: paths.into_iter().map(render).collect(), next: 0 }
    }
}

impl Source for Prepared {
    fn next(&mut self, out: &mut Vec<u8>) -> Option<usize> {
        let (request, _) = self.requests.get(self.next)?;
        out.extend_from_slice(request);
        self.next += 1;
        Some(self.next - 1)
    }

    fn check(&mut self, ticket: usize, answer: &Answer<'_>) -> Result<(), String> {
        let holds = self.requests.get(ticket).map_or("", |(_, holds)| holds);
        if answer.status == 200 && (holds.is_empty() || answer.holds(holds)) {
            Ok(())
        } else {
            Err(answer.complaint(&format!("200 with {holds}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn creations_that_begin_anywhere_make_each_session_once() {
        let (start, count) = (1_000_001, 10_000);
        let next = Rc::new(Cell::new(start));
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut create = Create::new(address, "", Rc::new(Population::new()), next, start + count);
        let mut made: Vec<usize> = std::iter::from_fn(|| create.next(&mut Vec::new())).collect();
        made.sort_unstable();
        assert!(made.into_iter().eq(start..start + count));
    }
}
