//! The calls that explain a policy, and that try one before it is saved.

use super::Web;
use super::caller::By;
use super::events::wants_stream;
use super::input::{self, At, BATCH, Json};
use super::policies::PolicyRequest;
use super::problem::{Answer, Problem};
use super::query::Params;
use super::reply::{json, stream};
use super::wire::EvidenceBody;
use crate::app::explain::{Explained, Preview, Values};
use crate::json::Object;
use crate::sections;
use axum::extract::State;
use axum::response::IntoResponse;
use bytes::Bytes;
use futures_util::StreamExt;
use handstamp_core::explain::Said;
use handstamp_core::refusal::detail;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// What a session's rules say.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Explained)]
pub struct ExplainedBody {
    /// Which session.
    session_id: String,
    /// The effective policy: each key with its value and where it came from. A key of which several sections hold together
    /// (limits, lists) has a list of both. Of a list with more than 20 entries `value` has the first 20, and `entries` says
    /// how many there are; with `full=true` it has all of them.
    #[schema(value_type = std::collections::BTreeMap<String, Value>)]
    policy: Value,
    /// What each rule says now, in the order in which they are asked.
    #[schema(value_type = Vec<RuleBody>)]
    rules: Vec<Value>,
}

/// What one rule says.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = RuleSaid)]
pub struct RuleBody<'a> {
    /// Its name, as in refusals.
    rule: &'static str,
    /// `allowed`, or the code of the refusal.
    verdict: &'static str,
    /// Where its value came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    /// What it compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<EvidenceBody<'a>>,
    /// The refusal in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// What to explain: what holds for certain tags, or the live sessions of a user.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "tags": ["role:admin", "org:acme"] }))]
pub struct ExplainRequest {
    /// `name:value`, at most 32; an empty list is a session without tags.
    tags: Option<Vec<String>>,
    /// Whose live sessions.
    user_id: Option<String>,
}

/// What holds for certain tags, or for each session of a user.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(untagged)]
#[schema(as = Explanation)]
pub enum ExplanationBody {
    /// For tags.
    Tags {
        /// The effective policy. Long lists are cut as in the explanation of a session.
        #[schema(value_type = std::collections::BTreeMap<String, Value>)]
        policy: Value,
    },
    /// For a user: the newest hundred.
    User {
        /// Each live session.
        sessions: Vec<ExplainedBody>,
    },
}

/// A policy to try.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "policy": { "default": { "idle_timeout": "15m" } } }))]
pub struct PreviewRequest {
    /// The whole policy, as `PUT /v1/policies` takes it.
    #[schema(value_type = PolicyRequest)]
    policy: Object<PolicyRequest>,
}

/// What a policy would do.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Preview)]
pub struct PreviewBody {
    /// Live sessions, every one of which was looked at.
    sessions: u64,
    /// How many would end.
    would_end: u64,
    /// How many would be refused if their last client asked again, and stay.
    would_refuse: u64,
    /// How many refusals of the last day would not have been given: requests of sessions, and logins that addresses or a limit
    /// refused. Of a login history tells its tags, its address and the limit that refused it; a limit that it never
    /// came to is taken to have room for it.
    would_allow: u64,
    /// The first hundred of those that would end or be refused.
    examples: Vec<ExampleBody>,
}

/// A session that a policy would end or refuse.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = PreviewExample)]
pub struct ExampleBody {
    /// Which.
    session_id: String,
    /// Why.
    #[schema(value_type = super::openapi::CodeList)]
    code: &'static str,
    /// Where the rule's value came from.
    origin: Option<String>,
    /// The same in a sentence.
    detail: String,
}

/// Explains a session: which rules hold for it, where each value came from, and what each rule says now.
#[utoipa::path(
    get, path = "/v1/sessions/{id}/explain", tag = "policies", operation_id = "explain_session",
    params(
        ("id" = String, Path, description = "`ses_...`"),
        ("full" = Option<bool>, Query, description = "Whether lists come with all of their entries. Left out: false, the first 20.")
    ),
    responses((status = 200, description = "The explanation.", body = ExplainedBody))
)]
pub async fn session(
    State(web): State<Arc<Web>>,
    By(caller): By,
    At(id): At<String>,
    params: Params,
) -> Answer {
    let most = entries(&params)?;
    let explained = web.app.explain(&caller, input::session(&id)?).await?;
    Ok(json(StatusCode::OK, &explained_body(&explained, most)?))
}

/// Explains the policy in force: for a set of tags, or for the live sessions of a user.
#[utoipa::path(
    post, path = "/v1/policies/explain", tag = "policies", operation_id = "explain_policy",
    params(
        ("full" = Option<bool>, Query, description = "Whether lists come with all of their entries. Left out: false, the first 20.")
    ),
    request_body = ExplainRequest,
    responses((status = 200, description = "The explanation.", body = ExplanationBody))
)]
pub async fn policy(
    State(web): State<Arc<Web>>,
    By(caller): By,
    params: Params,
    Json(ask, _): Json<ExplainRequest>,
) -> Answer {
    let most = entries(&params)?;
    let body = match (ask.tags, ask.user_id) {
        (Some(tags), None) => {
            let tags = input::tags("/tags", &tags)?;
            ExplanationBody::Tags { policy: values(&web.app.explain_tags(&caller, &tags)?, most) }
        }
        (None, Some(user)) => {
            let all = web.app.explain_user(&caller, input::user("/user_id", &user)?).await?;
            let sessions = all.iter().map(|one| explained_body(one, most)).collect::<Result<_, _>>()?;
            ExplanationBody::User { sessions }
        }
        _ => return Err(Problem::field("", "send either `tags` or `user_id`")),
    };
    Ok(json(StatusCode::OK, &body))
}

/// Tries a policy: what it would do to every live session, and to the refusals of the last day. Nothing is changed.
///
/// Every record is looked at, none is guessed. With `Accept: text/event-stream` the answer is a stream: when it takes longer
/// than a second, `progress` events with how many records were looked at, and at the end one `result`.
#[utoipa::path(
    post, path = "/v1/policies/preview", tag = "policies", operation_id = "preview_policy",
    request_body = PreviewRequest,
    responses((status = 200, description = "What it would do.", content(
        (PreviewBody = "application/json"),
        (String = "text/event-stream")
    )))
)]
pub async fn preview(
    State(web): State<Arc<Web>>,
    By(caller): By,
    headers: HeaderMap,
    Json(ask, _): Json<PreviewRequest, BATCH>,
) -> Answer {
    let Object(policy) = ask.policy;
    let candidate = policy.read("/policy")?;
    if !wants_stream(&headers) {
        return Ok(json(StatusCode::OK, &preview_body(&web.app.preview(&caller, &candidate, |_| {}).await?)));
    }
    caller.allow(handstamp_core::caller::Scope::SessionsRead)?;
    let looked_at = Arc::new(AtomicU64::new(0));
    let (tell, app) = (looked_at.clone(), web.app.clone());
    let work = async move {
        match app.preview(&caller, &candidate, |n| tell.store(n, Ordering::Relaxed)).await {
            Ok(done) => told("result", &preview_body(&done)),
            // The status has gone out: whoever waits is told that there is no result.
            Err(stop) => {
                let problem = Problem::from(stop);
                told("error", &json!({ "code": problem.named().text(), "detail": problem.detail() }))
            }
        }
    };
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks.tick().await;
    let state = (Box::pin(work), ticks, looked_at, false);
    let parts = futures_util::stream::unfold(state, |(mut work, mut ticks, looked_at, done)| async move {
        if done {
            return None;
        }
        let (part, done) = tokio::select! {
            result = &mut work => (result, true),
            _ = ticks.tick() => {
                (told("progress", &json!({ "looked_at": looked_at.load(Ordering::Relaxed) })), false)
            }
        };
        Some((part, (work, ticks, looked_at, done)))
    });
    Ok(stream(parts.map(Ok)).into_response())
}

fn told<T: Serialize>(event: &str, body: &T) -> Bytes {
    let data = serde_json::to_string(body).unwrap_or_default();
    Bytes::from(format!("event: {event}\ndata: {data}\n\n"))
}

/// How many entries of a list are told, unless all are asked for: a list of networks may have ten thousand, and a hundred
/// sessions of a user the same one.
const ENTRIES: usize = 20;

/// The most entries of a list.
fn entries(params: &Params) -> Result<usize, Problem> {
    match params.get("full")? {
        None | Some("false") => Ok(ENTRIES),
        Some("true") => Ok(usize::MAX),
        Some(_) => Err(Problem::field("full", "true or false")),
    }
}

/// Each key with value and origin; one that comes more than once as a list.
fn values(values: &Values, most: usize) -> Value {
    let mut map = Map::new();
    for (key, value, origin) in values {
        let mut one = json!({ "value": sections::value(value), "origin": origin.text() });
        let listed = one.get_mut("value").and_then(Value::as_array_mut).filter(|listed| listed.len() > most);
        let entries = listed.map(|listed| {
            let entries = listed.len();
            listed.truncate(most);
            entries
        });
        if let (Some(entries), Some(members)) = (entries, one.as_object_mut()) {
            members.insert("entries".to_owned(), entries.into());
        }
        match map.get_mut(*key) {
            None => drop(map.insert((*key).to_owned(), one)),
            Some(Value::Array(all)) => all.push(one),
            Some(first) => *first = json!([first.take(), one]),
        }
    }
    Value::Object(map)
}

fn explained_body(explained: &Explained, most: usize) -> Result<ExplainedBody, Problem> {
    let rule = |said: &Said| {
        let body = RuleBody {
            rule: said.rule,
            verdict: said.code.map_or("allowed", handstamp_core::refusal::Code::text),
            origin: said.origin.as_ref().map(handstamp_core::policy::Origin::text),
            evidence: said.evidence.as_ref().map(EvidenceBody::of),
            detail: said
                .code
                .map(|code| detail(code, said.rule, said.origin.as_ref(), said.evidence.as_ref())),
        };
        serde_json::to_value(&body)
            .map_err(|error| Problem::accident(handstamp_core::refusal::Code::InternalError, &error))
    };
    Ok(ExplainedBody {
        session_id: explained.session.to_string(),
        policy: values(&explained.policy, most),
        rules: explained.rules.iter().map(rule).collect::<Result<_, _>>()?,
    })
}

fn preview_body(preview: &Preview) -> PreviewBody {
    let examples = preview.examples.iter().map(|(id, refusal)| ExampleBody {
        session_id: id.to_string(),
        code: refusal.code.text(),
        origin: refusal.origin.as_ref().map(handstamp_core::policy::Origin::text),
        detail: refusal.detail(),
    });
    PreviewBody {
        sessions: preview.sessions,
        would_end: preview.would_end,
        would_refuse: preview.would_refuse,
        would_allow: preview.would_allow,
        examples: examples.collect(),
    }
}
