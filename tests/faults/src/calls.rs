//! Each call of the contract that clients make: how it is asked, and which answers it may have.

use crate::client::Ask;
use crate::history::{Answer, Call, Name, Scope};
use crate::world::{Held, Person, digest, lock};
use hyper::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// From where watched requests come.
pub(crate) const WATCHED: &str = "198.51.100.7";

/// What a session is made with.
#[derive(Clone, Default)]
pub(crate) struct New {
    pub(crate) user: String,
    pub(crate) tags: Vec<&'static str>,
    pub(crate) refresh: bool,
    pub(crate) offline: bool,
    /// Repeated under the same key until there is an answer.
    pub(crate) idempotency: Option<u64>,
}

/// How a session is validated.
#[derive(Clone, Copy, Default)]
pub(crate) struct How {
    pub(crate) strong: bool,
    pub(crate) rotate: bool,
}

impl Person {
    pub(crate) async fn create(&mut self, node: usize, new: &New) -> Option<Arc<Held>> {
        let user: Name = new.user.as_str().into();
        let tags: Vec<Name> = new.tags.iter().map(|tag| Name::from(*tag)).collect();
        let mut body = json!({"user_id": new.user, "tags": new.tags, "refresh": new.refresh, "ip": WATCHED});
        if new.offline {
            body["access_token"] = json!({});
        }
        let call = Call::Create {
            user: user.clone(),
            tags: tags.clone(),
            idempotency: new.idempotency,
            offline: new.offline,
        };
        let key = self.world.key.clone();
        let mut ask = Ask::new(Method::POST, "/v1/sessions", &key, Some(body));
        ask.headers.extend(new.idempotency.map(|number| ("idempotency-key", format!("faults-{number}"))));
        let read = |status: u16, body: &Value| match (status, text(body, "code")) {
            (201, _) => match (text(&body["session"], "id"), text(body, "token")) {
                (Some(session), Some(token)) => Answer::Created {
                    session: session.into(),
                    token: digest(token),
                    evicted: body["evicted"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .filter_map(Value::as_str)
                        .map(Name::from)
                        .collect(),
                },
                _ => Answer::Wrong("no session in it".into()),
            },
            (409, Some(code @ ("session_limit_reached" | "idempotency_key_spent"))) => {
                Answer::Refused(code.into())
            }
            (403, Some(code @ "ip_not_allowed")) => Answer::Refused(code.into()),
            _ => Answer::Wrong("".into()),
        };
        let (answer, body) = self.ask(node, call, ask, read).await;
        let Answer::Created { session, evicted, .. } = answer else { return None };
        for held in lock(&self.world.sessions).iter().filter(|held| evicted.contains(&held.name)) {
            held.over.store(true, Ordering::Relaxed);
        }
        let known = lock(&self.world.sessions).iter().find(|held| held.name == session).cloned();
        if known.is_some() {
            return known;
        }
        let held = Arc::new(Held {
            name: session,
            tags,
            user,
            tokens: vec![text(&body, "token").unwrap_or_default().to_owned()].into(),
            refresh: text(&body, "refresh_token").map(ToOwned::to_owned).into(),
            over: AtomicBool::new(false),
        });
        lock(&self.world.sessions).push(held.clone());
        Some(held)
    }

    /// Presents a session token.
    pub(crate) async fn validate(&mut self, node: usize, held: &Held, token: &str, how: How) -> Answer {
        let rotate = if how.rotate { "auto" } else { "never" };
        let consistency = if how.strong { "strong" } else { "cached" };
        let body = json!({"token": token, "rotate": rotate, "consistency": consistency, "ip": WATCHED});
        let call = Call::Validate {
            session: held.name.clone(),
            token: digest(token),
            strong: how.strong,
            rotate: how.rotate,
            watched: held.tags.iter().any(|tag| &**tag == "watched:yes"),
        };
        let key = self.world.key.clone();
        let ask = Ask::new(Method::POST, "/v1/sessions/validate", &key, Some(body));
        let (answer, body) = self.ask(node, call, ask, verdict).await;
        if let Some(next) = text(&body, "rotated_token") {
            held.learn(token, next);
        }
        held.see(&answer);
        answer
    }

    /// Presents the newest refresh token.
    pub(crate) async fn refresh(&mut self, node: usize, held: &Held) -> Answer {
        let Some(presented) = lock(&held.refresh).clone() else { return Answer::Lost };
        let call = Call::Refresh { session: held.name.clone(), token: digest(&presented) };
        let key = self.world.key.clone();
        let body = json!({"refresh_token": presented, "ip": WATCHED});
        let ask = Ask::new(Method::POST, "/v1/sessions/refresh", &key, Some(body));
        let read = |status: u16, body: &Value| match (status, text(body, "refresh_token"), text(body, "code"))
        {
            (200, Some(next), _) => Answer::Allowed { successor: Some(digest(next)) },
            (401, _, Some(code)) if !code.starts_with("access_key") => Answer::Refused(code.into()),
            _ => Answer::Wrong("".into()),
        };
        let (answer, body) = self.ask(node, call, ask, read).await;
        if let Some(next) = text(&body, "refresh_token") {
            let mut newest = lock(&held.refresh);
            if newest.as_deref() == Some(&presented) {
                *newest = Some(next.to_owned());
                if let Some(token) = text(&body, "token") {
                    lock(&held.tokens).push(token.to_owned());
                }
            }
        }
        held.see(&answer);
        answer
    }

    pub(crate) async fn end(&mut self, node: usize, scope: Scope) -> Answer {
        let world = self.world.clone();
        for held in lock(&world.sessions).iter().filter(|held| meant(&scope, held)) {
            held.over.store(true, Ordering::Relaxed);
        }
        let (path, body) = match &scope {
            Scope::One(session) => (format!("/v1/sessions/{session}"), None),
            Scope::User(user) => ("/v1/sessions/revoke".to_owned(), Some(json!({"user_id": &**user}))),
            Scope::Tag(tag) => ("/v1/sessions/revoke".to_owned(), Some(json!({"tags": [&**tag]}))),
            Scope::All => ("/v1/sessions/revoke".to_owned(), Some(json!({"all": true}))),
        };
        let method = if body.is_none() { Method::DELETE } else { Method::POST };
        let read = |status: u16, body: &Value| match status {
            200 | 202 if body.get("ended").is_some() => Answer::Done,
            _ => Answer::Wrong("".into()),
        };
        self.ask(node, Call::End(scope), Ask::new(method, &path, &world.key, body), read).await.0
    }

    /// Asks something small with another key than everybody's.
    pub(crate) async fn use_key(&mut self, node: usize, number: u32, key: &str, token: &str) -> Answer {
        let body = json!({"token": token, "ip": WATCHED, "touch": false});
        let ask = Ask::new(Method::POST, "/v1/sessions/validate", key, Some(body));
        let read = |status: u16, body: &Value| match (status, text(body, "code")) {
            (200, _) => Answer::Done,
            (401, Some(code @ "access_key_invalid")) => Answer::Refused(code.into()),
            _ => Answer::Wrong("".into()),
        };
        self.ask(node, Call::UseKey(number), ask, read).await.0
    }

    pub(crate) async fn delete_key(&mut self, node: usize, number: u32, id: &str) -> Answer {
        let path = format!("/v1/keys/{id}");
        let key = self.world.key.clone();
        let read = |status: u16, _: &Value| match status {
            200 | 204 => Answer::Done,
            // An earlier call without an answer had done it.
            404 => Answer::Refused("not_found".into()),
            _ => Answer::Wrong("".into()),
        };
        self.ask(node, Call::DeleteKey(number), Ask::new(Method::DELETE, &path, &key, None), read).await.0
    }
}

fn verdict(status: u16, body: &Value) -> Answer {
    match (status, body["valid"].as_bool(), text(body, "code")) {
        (200, Some(true), _) => Answer::Allowed { successor: text(body, "rotated_token").map(digest) },
        (200, Some(false), Some(code)) => Answer::Refused(code.into()),
        _ => Answer::Wrong("".into()),
    }
}

fn meant(scope: &Scope, held: &Held) -> bool {
    match scope {
        Scope::One(name) => *name == held.name,
        Scope::User(user) => *user == held.user,
        Scope::Tag(tag) => held.tags.contains(tag),
        Scope::All => true,
    }
}

pub(crate) fn text<'a>(body: &'a Value, member: &str) -> Option<&'a str> {
    body.get(member)?.as_str()
}
