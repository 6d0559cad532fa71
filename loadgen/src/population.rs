//! Who is logged in while we measure: session number `i` is a pure function of `i`.
//!
//! Nothing but the token must be remembered per session, and every peer can be filled with the same people: four
//! sessions a user, two tags, 120 bytes of data, an address per user and one of 500 user agents.

use std::io::Write;

use crate::stats::mix;

/// How many different user agents are sent, as the design asks.
pub(crate) const AGENTS: usize = 500;
/// Sessions of one user: below the ten that the default policy allows.
pub(crate) const SESSIONS_PER_USER: usize = 4;
/// How many organisations share the sessions.
pub(crate) const ORGANISATIONS: usize = 1000;
/// Bytes of JSON in each session's `data`.
pub(crate) const DATA_BYTES: usize = 120;

pub(crate) struct Population {
    agents: Vec<String>,
}

impl Population {
    pub(crate) fn new() -> Self {
        Self { agents: (0..AGENTS).map(agent).collect() }
    }

    /// The `turn`-th session to create of `end`: each once, but the sessions of one user far apart, because people do
    /// not log in four times at once, and rows that wait for each other would be another benchmark.
    pub(crate) fn in_turn(turn: usize, end: usize) -> usize {
        const BLOCK: usize = 4096;
        let within = turn % BLOCK;
        let begin = turn - within;
        if end - begin < BLOCK {
            return turn;
        }
        let users = BLOCK / SESSIONS_PER_USER;
        begin + within % users * SESSIONS_PER_USER + within / users
    }

    pub(crate) fn user(index: usize) -> String {
        format!("user-{:07}", index / SESSIONS_PER_USER)
    }

    /// One tag that splits the sessions finely, one that nearly all of them share: a search has to do well on both.
    pub(crate) fn tags(index: usize) -> [String; 2] {
        let role = if index.is_multiple_of(100) { "role:admin" } else { "role:member" };
        [Self::organisation(index), role.to_owned()]
    }

    pub(crate) fn organisation(index: usize) -> String {
        let spread = mix(index as u64) % (ORGANISATIONS as u64);
        format!("org:acme-{spread:03}")
    }

    pub(crate) fn address(index: usize) -> String {
        let [_, _, _, _, _, a, b, c] = (index / SESSIONS_PER_USER).to_be_bytes();
        format!("10.{a}.{b}.{c}")
    }

    pub(crate) fn agent(&self, index: usize) -> &str {
        let at = usize::try_from(mix(index as u64 ^ 0xA6E7) % (AGENTS as u64)).unwrap_or(0);
        self.agents.get(at).map_or("", String::as_str)
    }

    /// A JSON object of exactly [`DATA_BYTES`].
    pub(crate) fn data(index: usize) -> String {
        let mut data =
            format!("{{\"name\":\"Person {index}\",\"plan\":\"team\",\"locale\":\"de-AT\",\"cart\":\"");
        while data.len() < DATA_BYTES - 2 {
            data.push(char::from(b'a' + u8::try_from(data.len() % 26).unwrap_or(0)));
        }
        data.push_str("\"}");
        data
    }

    /// The body of `POST /v1/sessions` for session `index`.
    pub(crate) fn creation(&self, index: usize, body: &mut Vec<u8>) {
        let [first, second] = Self::tags(index);
        // Writing to a Vec cannot fail, and a broken body would be refused by the server.
        let _ = write!(
            body,
            "{{\"user_id\":\"{}\",\"tags\":[\"{first}\",\"{second}\"],\"data\":{},\"ip\":\"{}\",\"user_agent\":\"{}\"}}",
            Self::user(index),
            Self::data(index),
            Self::address(index),
            self.agent(index),
        );
    }

    /// The body of `POST /v1/sessions/validate` for session `index`.
    pub(crate) fn validation(&self, index: usize, token: &[u8], body: &mut Vec<u8>) {
        self.shown("token", index, token, body);
    }

    /// The body of `POST /v1/sessions/refresh` for session `index`.
    pub(crate) fn refresh(&self, index: usize, token: &[u8], body: &mut Vec<u8>) {
        self.shown("refresh_token", index, token, body);
    }

    fn shown(&self, member: &str, index: usize, token: &[u8], body: &mut Vec<u8>) {
        body.extend_from_slice(b"{\"");
        body.extend_from_slice(member.as_bytes());
        body.extend_from_slice(b"\":\"");
        body.extend_from_slice(token);
        body.extend_from_slice(b"\",\"ip\":\"");
        body.extend_from_slice(Self::address(index).as_bytes());
        body.extend_from_slice(b"\",\"user_agent\":\"");
        body.extend_from_slice(self.agent(index).as_bytes());
        body.extend_from_slice(b"\"}");
    }

    /// All agents, one a line: for the peer that is not written in Rust.
    pub(crate) fn agent_lines(&self) -> String {
        self.agents.join("\n")
    }
}

/// User agent `index`: five systems, four browsers, twenty-five versions.
fn agent(index: usize) -> String {
    const SYSTEMS: [&str; 5] = [
        "Windows NT 10.0; Win64; x64",
        "Macintosh; Intel Mac OS X 10_15_7",
        "X11; Linux x86_64",
        "Linux; Android 14; Pixel 8",
        "X11; CrOS x86_64 14541.0.0",
    ];
    let system = SYSTEMS[index % SYSTEMS.len()];
    let version = 100 + index / 20;
    let webkit = "AppleWebKit/537.36 (KHTML, like Gecko)";
    match (index / SYSTEMS.len()) % 4 {
        0 => format!("Mozilla/5.0 ({system}) {webkit} Chrome/{version}.0.0.0 Safari/537.36"),
        1 => format!(
            "Mozilla/5.0 ({system}) {webkit} Chrome/{version}.0.0.0 Safari/537.36 Edg/{version}.0.2151.44"
        ),
        2 => format!("Mozilla/5.0 ({system}; rv:{version}.0) Gecko/20100101 Firefox/{version}.0"),
        _ => format!(
            "Mozilla/5.0 ({system}) {webkit} Chrome/{version}.0.0.0 Safari/537.36 OPR/{}.0.0.0",
            version - 14
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_json_and_data_has_its_size() {
        let population = Population::new();
        for index in [0, 7, 999_999] {
            assert_eq!(Population::data(index).len(), DATA_BYTES);
            for body in [
                {
                    let mut body = Vec::new();
                    population.creation(index, &mut body);
                    body
                },
                {
                    let mut body = Vec::new();
                    population.validation(index, b"hst_x", &mut body);
                    body
                },
            ] {
                let parsed: serde_json::Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(parsed["ip"], Population::address(index));
                assert_eq!(parsed["user_agent"], population.agent(index));
            }
        }
    }

    #[test]
    fn every_session_has_its_turn_once() {
        let mut turns: Vec<usize> = (0..10_000).map(|turn| Population::in_turn(turn, 10_000)).collect();
        assert_ne!(Population::user(turns[0]), Population::user(turns[1]));
        turns.sort_unstable();
        assert!(turns.into_iter().eq(0..10_000));
    }

    #[test]
    fn five_hundred_different_agents() {
        let different: std::collections::BTreeSet<String> = (0..AGENTS).map(agent).collect();
        assert_eq!(different.len(), AGENTS);
    }
}
