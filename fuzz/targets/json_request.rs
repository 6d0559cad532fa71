//! Reading the JSON of every call that takes a body: the first byte says which, the rest is the body. What is accepted
//! is JSON to other readers, too, with known members only, each once; what is refused is refused without repeating what
//! was sent.
#![no_main]

use handstamp_core::time::Millis;
use handstamp_server::http::devices::{ChallengeRequest, NameDeviceRequest, RegisterRequest};
use handstamp_server::http::environments::CreateEnvironmentRequest;
use handstamp_server::http::keys::{CreateKeyRequest, RotateKeyRequest, UpdateKeyRequest};
use handstamp_server::http::problem::Problem;
use handstamp_server::http::revoke::RevokeRequest;
use handstamp_server::http::search::BulkUpdateRequest;
use handstamp_server::http::sessions::{CreateRequest, UpdateRequest};
use handstamp_server::http::validate::{ValidateBatchRequest, ValidateRequest};
use handstamp_server::json;
use libfuzzer_sys::fuzz_target;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

fuzz_target!(|data: &[u8]| {
    let Some((which, body)) = data.split_first() else { return };
    let (answer, meant) = match which % 13 {
        0 => (parse::<CreateRequest>(body).and_then(|ask| ask.read(Millis(0))).map(|_| ()), CREATE),
        1 => (parse::<ValidateRequest<'_>>(body).map(|_| ()), VALIDATE),
        2 => (parse::<ValidateBatchRequest<'_>>(body).map(|_| ()), BATCH),
        3 => (parse::<RevokeRequest>(body).and_then(RevokeRequest::read).map(|_| ()), REVOKE),
        4 => (parse::<UpdateRequest>(body).and_then(|ask| ask.read("")).map(|_| ()), UPDATE),
        5 => (parse::<BulkUpdateRequest>(body).and_then(BulkUpdateRequest::read).map(|_| ()), BULK),
        6 => (
            parse::<CreateKeyRequest>(body).map(|_| ()),
            &Meant::Members(&["name", "scopes", "expires_in", "operator"]),
        ),
        7 => (parse::<UpdateKeyRequest>(body).map(|_| ()), &Meant::Members(&["name", "state", "scopes"])),
        8 => (parse::<RotateKeyRequest>(body).map(|_| ()), &Meant::Members(&["overlap"])),
        9 => (
            parse::<CreateEnvironmentRequest>(body).map(|_| ()),
            &Meant::Members(&["product", "environment"]),
        ),
        10 => (parse::<ChallengeRequest>(body).map(|_| ()), CHALLENGE),
        11 => (parse::<RegisterRequest>(body).map(|_| ()), REGISTER),
        _ => (parse::<NameDeviceRequest>(body).map(|_| ()), &Meant::Members(&["name"])),
    };
    let tree = serde_json::from_slice::<Tree>(body);
    match answer {
        Ok(()) => {
            serde_json::from_slice::<serde_json::Value>(body).expect("what is accepted is JSON");
            tree.expect("what is accepted is JSON").is(meant);
        }
        Err(problem) => silent(&problem, tree.ok().as_ref()),
    }
});

/// As the door does it.
fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    json::parse(body).map_err(Problem::from)
}

/// Seeds have this in every text: the sentence of a refusal must not. (It may name a member.)
const SENT: &str = "s3nt";

fn silent(problem: &Problem, tree: Option<&Tree>) {
    let told = problem.detail();
    assert!(!told.is_empty());
    assert!(!told.contains(SENT) || tree.is_none_or(Tree::names_it), "{told}");
}

/// What a request may hold.
enum Meant {
    /// Anything in which no object has a member twice, not too deep.
    Free,
    /// Anything but `null`: it chooses whom a call ends or changes.
    Given,
    /// Members of no structure.
    Members(&'static [&'static str]),
    Object(&'static [(&'static str, &'static Meant)]),
    List(&'static Meant),
}

const PLAIN: &Meant = &Meant::Members(&[]);
const ADD_REMOVE: &Meant = &Meant::Members(&["add", "remove"]);
const CREATE: &Meant = &Meant::Object(&[
    ("user_id", PLAIN),
    ("tags", PLAIN),
    ("data", &Meant::Free),
    ("access_groups", PLAIN),
    ("expires_in", PLAIN),
    ("ip", PLAIN),
    ("user_agent", PLAIN),
    ("device", NEW_DEVICE),
    ("method", PLAIN),
    ("url", PLAIN),
    (
        "client_hints",
        &Meant::Members(&[
            "sec-ch-ua",
            "sec-ch-ua-platform",
            "sec-ch-ua-platform-version",
            "sec-ch-ua-mobile",
            "sec-ch-ua-model",
            "ua",
            "platform",
            "platform_version",
            "mobile",
            "model",
        ]),
    ),
    ("auth", AUTH),
    ("actor", &Meant::Members(&["id", "reason"])),
]);
const AUTH: &Meant = &Meant::Members(&["methods", "level", "at"]);
const NEW_DEVICE: &Meant = &Meant::Members(&["proof", "remember"]);
const CHALLENGE: &Meant = &Meant::Object(&[
    ("token", &Meant::Given),
    ("session_id", &Meant::Given),
    ("user_id", PLAIN),
    ("ip", PLAIN),
    ("user_agent", PLAIN),
]);
const REGISTER: &Meant = &Meant::Object(&[
    ("token", &Meant::Given),
    ("session_id", &Meant::Given),
    ("device", NEW_DEVICE),
    ("method", PLAIN),
    ("url", PLAIN),
    ("ip", PLAIN),
    ("user_agent", PLAIN),
]);
const VALIDATE: &Meant = &Meant::Object(&[
    ("token", PLAIN),
    ("ip", PLAIN),
    ("user_agent", PLAIN),
    ("required_tags", PLAIN),
    ("required_access_groups", PLAIN),
    ("rotate", PLAIN),
    ("touch", PLAIN),
    ("consistency", PLAIN),
    ("method", PLAIN),
    ("url", PLAIN),
    ("device", &Meant::Members(&["proof"])),
    ("max_auth_age", PLAIN),
    ("min_level", PLAIN),
]);
const BATCH: &Meant = &Meant::Object(&[("requests", &Meant::List(VALIDATE))]);
const REVOKE: &Meant = &Meant::Object(&[
    ("token", &Meant::Given),
    ("all", &Meant::Given),
    ("user_id", &Meant::Given),
    ("tags", &Meant::Given),
    ("ip", &Meant::Given),
    ("before", &Meant::Given),
    ("after", &Meant::Given),
    ("except", &Meant::Given),
    ("dry_run", PLAIN),
    ("reason", PLAIN),
]);
const UPDATE: &Meant = &Meant::Object(&[
    ("tags", ADD_REMOVE),
    ("data", &Meant::Free),
    ("data_patch", &Meant::Free),
    ("access_groups", ADD_REMOVE),
    ("extend", PLAIN),
    ("auth", AUTH),
    ("ip", PLAIN),
    ("user_agent", PLAIN),
]);
const BULK: &Meant = &Meant::Object(&[
    (
        "filter",
        &Meant::Object(&[
            ("user_id", &Meant::Given),
            ("tags", &Meant::Given),
            ("ip", &Meant::Given),
            ("before", &Meant::Given),
            ("after", &Meant::Given),
        ]),
    ),
    ("update", UPDATE),
]);

/// JSON with every member, also those that are there twice.
enum Tree {
    Null,
    Leaf,
    List(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

impl Tree {
    fn is(&self, meant: &Meant) {
        match (self, meant) {
            (tree, Meant::Free) => assert!(tree.depth() <= 64, "too deep"),
            (tree, Meant::Given) => assert!(!matches!(tree, Tree::Null), "null chooses everybody"),
            (Tree::Object(members), Meant::Members(known)) => {
                let unknown = members.iter().find(|(name, _)| !known.contains(&name.as_str()));
                assert!(unknown.is_none(), "unknown: {:?}", unknown.map(|(name, _)| name));
            }
            (Tree::Object(members), Meant::Object(known)) => {
                for (name, tree) in members {
                    let meant = known.iter().find(|(known, _)| known == name);
                    tree.is(meant.unwrap_or_else(|| panic!("unknown: {name:?}")).1);
                }
            }
            (Tree::List(items), Meant::List(meant)) => items.iter().for_each(|item| item.is(meant)),
            (_, Meant::List(_)) => panic!("a list is meant"),
            (_, Meant::Object(_)) => assert!(matches!(self, Tree::Null), "an object is meant"),
            (_, Meant::Members(_)) => {}
        }
        self.once();
    }

    /// No object has a member twice.
    fn once(&self) {
        match self {
            Tree::Object(members) => {
                let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
                names.sort_unstable();
                assert!(names.windows(2).all(|two| two[0] != two[1]), "a member twice");
                members.iter().for_each(|(_, tree)| tree.once());
            }
            Tree::List(items) => items.iter().for_each(Tree::once),
            Tree::Null | Tree::Leaf => {}
        }
    }

    fn depth(&self) -> usize {
        let deepest = |depths: &mut dyn Iterator<Item = usize>| 1 + depths.max().unwrap_or(0);
        match self {
            Tree::Object(members) => deepest(&mut members.iter().map(|(_, tree)| tree.depth())),
            Tree::List(items) => deepest(&mut items.iter().map(Tree::depth)),
            Tree::Null | Tree::Leaf => 0,
        }
    }

    /// Whether the name of a member holds what the values hold.
    fn names_it(&self) -> bool {
        match self {
            Tree::Object(members) => {
                members.iter().any(|(name, tree)| name.contains(SENT) || tree.names_it())
            }
            Tree::List(items) => items.iter().any(Tree::names_it),
            Tree::Null | Tree::Leaf => false,
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(Grow)
    }
}

struct Grow;

impl<'de> Visitor<'de> for Grow {
    type Value = Tree;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }
    fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }
    fn visit_str<E>(self, _: &str) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Tree::Object(members))
    }
}
