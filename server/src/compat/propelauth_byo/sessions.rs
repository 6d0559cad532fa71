//! Sessions: made, judged, found, changed and ended. Each is one verb.

use super::answers::{Created, Done, Invalidated, Page, Pong, SessionInfo, Sessions, Updated, Valid};
use super::commands::{
    CreateSession, FetchAllSessions, FetchSessionById, InvalidateOthers, InvalidateSessionById,
    InvalidateSessionByToken, Nothing, OfUser, UpdateSession, UpdateSessions, ValidateSession,
};
use super::failure::{Failure, seconds};
use super::{devices, plain, read};
use crate::app::callers::Caller;
use crate::app::create::Create;
use crate::app::end::{Revoke, Revoked, Target};
use crate::app::login::Given;
use crate::app::nodes::Late;
use crate::app::spared::Except;
use crate::app::validate::{Ask, Validated};
use crate::app::{App, Refused, Stop};
use crate::json::Object;
use handstamp_core::agent::hints::Hints;
use handstamp_core::caller::Scope;
use handstamp_core::device::Demand;
use handstamp_core::expiry::Ends;
use handstamp_core::refusal::{Code, Refusal};
use handstamp_core::rotation::Issued;
use handstamp_core::subject::Subject;
use serde_json::value::RawValue;

/// Sessions of a full page.
const PAGE: usize = 100;
/// Each page is walked to from the first one: beyond this that would be no work for one call.
pub(super) const LAST_PAGE: u32 = 999;

/// What time it is.
pub(super) fn ping(app: &App, Nothing {}: Nothing) -> Pong {
    Pong { timestamp: seconds(app.now()) }
}

/// A session begins.
pub(super) async fn create(app: &App, by: &Caller, ask: CreateSession) -> Result<Created, Failure> {
    let address = read::client(ask.ip_address.as_deref(), ask.user_agent.as_deref());
    let bad = |text: &str| Failure::bad_tag("TagParseError", text);
    let device = ask.device_registration.map(|Object(device)| devices::introduction(device)).transpose()?;
    let create = Create {
        user: Some(read::user("/data/userId", &ask.user_id)?),
        tags: read::tags("/data/tags", ask.tags, bad)?,
        groups: Vec::new(),
        data: read::metadata("/data/metadata", ask.metadata)?.map(|raw| raw.get().to_owned()),
        expires_in: None,
        refresh: false,
        client: address.map_err(|wrong| wrong.typed(ADDRESS))?,
        hints: Hints::default(),
        idempotency: None,
        device,
        auth: None,
        actor: None,
        access: None,
        login: None,
    };
    let places = [("/data", "/data/metadata"), ("/tags", "/data/tags")];
    let made = app.create(by, create).await;
    let made = made.map_err(|stop| Failure::of_placed(stop, &places, not_created))?;
    let Given::Tokens(issued) = &made.given else {
        return Err(Failure::impossible("a session without a token"));
    };
    Ok(Created {
        session_id: made.view.session().id.to_string(),
        session_token: issued.session.reveal().to_owned(),
        expires_at: seconds(made.view.ends.absolute),
        new_device_detected: made.new_device,
    })
}

const ADDRESS: &str = "IpAddressError";

fn not_created(refused: &Refused) -> Option<Failure> {
    match refused.refusal.code {
        Code::SessionLimitReached => {
            let (current, most) = refused.refusal.room()?;
            Some(Failure::full(current, most))
        }
        Code::IpNotAllowed | Code::IpBlocked | Code::IpMissing => Some(Failure::text(ADDRESS, refused)),
        code if devices::is_about_proof(code) => Some(devices::no_registration()),
        _ => None,
    }
}

/// May this request pass? With `refresh`, the answer has the next token when its time has come.
pub(super) async fn validate(
    app: &App,
    by: &Caller,
    ask: ValidateSession,
    refresh: bool,
) -> Result<Valid, Failure> {
    app.allow(by, Scope::SessionsRead).await.map_err(plain)?;
    let client = read::client(ask.ip_address.as_deref(), ask.user_agent.as_deref())
        .map_err(|wrong| wrong.typed(ADDRESS))?;
    let ignored = ask.ignore_device_for_verification.unwrap_or(false);
    let proof = ask.device_verification.map(|Object(proof)| proof);
    let asked = Ask {
        token: ask.session_token.as_deref().unwrap_or_default(),
        ip: client.ip,
        user_agent: client.user_agent.as_deref(),
        tags: read::wanted("/data/requiredTags", ask.required_tags)?,
        rotate: refresh,
        touch: true,
        device: devices::shown(proof, ignored)?,
        // Who registers a device there means it; what is to be left out is said with the request.
        device_demand: Demand::IfRegistered,
        ..Ask::default()
    };
    let again = app.has_others().then(|| asked.clone());
    let mut verdict = app.validate(&by.env, asked).await.map_err(plain)?;
    if let Some(mut again) = again {
        let mut late = Late::default();
        loop {
            let (good, proved) = match &verdict {
                Validated::Current(current) => (current.good, false),
                Validated::Allowed { good, challenge, .. } => (*good, challenge.is_some()),
                Validated::Refused { .. } => break,
            };
            if app.may_leave(good, &mut late).map_err(plain)? {
                break;
            }
            app.look_again(by, Scope::SessionsRead).await.map_err(plain)?;
            again = again.again(proved);
            verdict = app.validate(&by.env, again.clone()).await.map_err(plain)?;
        }
    }
    match verdict {
        Validated::Current(current) => {
            let subject = current.kept.subject(&current.outline);
            let data = current.kept.data().and_then(|json| std::str::from_utf8(json).ok());
            Ok(valid(&subject, data, &current.ends, None))
        }
        Validated::Allowed { view, issued, .. } => {
            let data = view.held.data.as_deref().map(RawValue::get);
            Ok(valid(view.session(), data, &view.ends, issued.as_ref()))
        }
        Validated::Refused { refusal, challenge, .. } => {
            app.spend_refusal(&by.env, &refusal, client.ip);
            Err(match (refusal.code, challenge) {
                (Code::IpNotAllowed | Code::IpBlocked | Code::IpMissing, _) => {
                    Failure::refusal(ADDRESS, &refusal)
                }
                (code, challenge) if devices::is_about_proof(code) => {
                    devices::not_verified(code, challenge.as_deref())
                }
                (_, _) => not_valid(&refusal),
            })
        }
    }
}

fn not_valid(refusal: &Refusal) -> Failure {
    Failure::refusal("InvalidSessionToken", refusal)
}

fn valid(session: &impl Subject, data: Option<&str>, ends: &Ends, issued: Option<&Issued>) -> Valid {
    Valid {
        session_id: session.id().to_string(),
        user_id: session.user().to_owned(),
        created_at: seconds(session.times().created_at),
        expires_at: seconds(ends.absolute),
        tags: session.tags().map(|(tag, _)| tag.to_owned()).collect(),
        metadata: data.and_then(|json| RawValue::from_string(json.to_owned()).ok()),
        has_device_registered: session.device().is_some(),
        new_session_token: issued.map(|issued| issued.session.reveal().to_owned()),
    }
}

/// The live sessions of a user.
pub(super) async fn of_user(app: &App, by: &Caller, ask: OfUser) -> Result<Vec<u8>, Failure> {
    let filter = read::filter("/data", Some(&ask.user_id), ask.session_tags)?;
    let found = app.all_live(by, &filter).await.map_err(plain)?;
    super::told(&Sessions { sessions: found.iter().map(SessionInfo::of).collect() })
}

/// A page of live sessions.
pub(super) async fn all(app: &App, by: &Caller, ask: FetchAllSessions) -> Result<Vec<u8>, Failure> {
    let filter = read::filter("/data", ask.user_id.as_deref(), ask.session_tags)?;
    let page = ask.page.unwrap_or(0);
    if page > LAST_PAGE {
        let message = format!("at most {LAST_PAGE}; go through more with GET /v1/sessions and its cursor");
        return Err(Failure::invalid("/data/page", &message));
    }
    let number = usize::try_from(page).unwrap_or(usize::MAX);
    let found = app.numbered(by, &filter, number, PAGE).await.map_err(plain)?;
    super::told(&Page {
        items: found.items.iter().map(SessionInfo::of).collect(),
        page,
        page_size: PAGE,
        total_count: found.total,
        has_more_results: found.more,
    })
}

/// One live session.
pub(super) async fn one(app: &App, by: &Caller, ask: FetchSessionById) -> Result<Vec<u8>, Failure> {
    by.allow(Scope::SessionsRead).map_err(plain)?;
    let view = app.get(by, read::session(&ask.session_id)?).await.map_err(missing)?;
    // These clients cannot tell a live session from an ended one.
    if view.ended.is_some() { Err(Failure::no_session()) } else { super::told(&SessionInfo::of(&view)) }
}

/// A session changes.
pub(super) async fn update(app: &App, by: &Caller, ask: UpdateSession) -> Result<Done, Failure> {
    by.allow(Scope::SessionsWrite).map_err(plain)?;
    let change = read::change(ask.tags_to_remove, ask.tags_to_add, ask.new_metadata, ask.patch_metadata)?;
    let id = read::session(&ask.session_id)?;
    let done = app.update(by, id, &change).await;
    done.map_err(|stop| {
        Failure::of_placed(stop, CHANGED, |refused| match refused.refusal.code {
            Code::NotFound | Code::SessionEnded => Some(Failure::no_session()),
            _ => not_changed(refused),
        })
    })?;
    Ok(Done {})
}

/// All live sessions of a filter change, or none; an accident may come when some of them have.
pub(super) async fn update_many(app: &App, by: &Caller, ask: UpdateSessions) -> Result<Updated, Failure> {
    by.allow(Scope::SessionsWrite).map_err(plain)?;
    let change = read::change(ask.tags_to_remove, ask.tags_to_add, ask.new_metadata, ask.patch_metadata)?;
    let Object(filter) = ask.filter;
    let filter = read::filter("/data/filter", filter.user_id.as_deref(), filter.session_tags)?;
    let done = app.update_all(by, &filter, &change).await;
    let done = done.map_err(|stop| Failure::of_placed(stop, CHANGED, not_changed))?;
    Ok(Updated { updated_count: done.count })
}

/// Where a change has what the verb calls by its own names.
const CHANGED: &[(&str, &str)] = &[
    ("/tags/add", "/data/tagsToAdd"),
    ("/tags/remove", "/data/tagsToRemove"),
    ("/data_patch", "/data/patchMetadata"),
    ("/data", "/data/newMetadata"),
    ("/filter", "/data/filter"),
];

fn not_changed(refused: &Refused) -> Option<Failure> {
    match refused.refusal.code {
        Code::TooManyMatches => {
            Some(Failure::unit("UpdatingTooManySessionsAtOnce", refused.refusal.code.status()))
        }
        Code::TagCreateOnly => Some(Failure::fixed_tags(refused.fixed.iter().map(|fixed| fixed.tag.name()))),
        _ => None,
    }
}

/// A logout: the session of a token ends, if there is one.
pub(super) async fn end_by_token(
    app: &App,
    by: &Caller,
    ask: InvalidateSessionByToken,
) -> Result<Done, Failure> {
    end_many(app, by, Target::Token(ask.session_token.unwrap_or_default()), None).await?;
    Ok(Done {})
}

/// A session ends; one that has ended already is no mistake.
pub(super) async fn end(app: &App, by: &Caller, ask: InvalidateSessionById) -> Result<Done, Failure> {
    by.allow(Scope::SessionsWrite).map_err(plain)?;
    let guard = ask.user_id.map(|text| read::user("/data/userId", &text)).transpose()?;
    let id = read::session(&ask.session_id)?;
    app.end(by, id, guard.as_ref(), None).await.map_err(missing)?;
    Ok(Done {})
}

/// All sessions of a user end.
pub(super) async fn end_all(app: &App, by: &Caller, ask: OfUser) -> Result<Invalidated, Failure> {
    let filter = read::filter("/data", Some(&ask.user_id), ask.session_tags)?;
    end_many(app, by, Target::Filter(filter), None).await
}

/// All sessions of a user end but for one.
pub(super) async fn end_others(
    app: &App,
    by: &Caller,
    ask: InvalidateOthers,
) -> Result<Invalidated, Failure> {
    let filter = read::filter("/data", Some(&ask.user_id), ask.session_tags)?;
    end_many(app, by, Target::Filter(filter), Some(Except::OfUser(ask.session_token_to_keep))).await
}

async fn end_many(
    app: &App,
    by: &Caller,
    target: Target,
    except: Option<Except>,
) -> Result<Invalidated, Failure> {
    let ask = Revoke { target, except, dry_run: false, reason: None };
    match app.revoke(by, &ask).await.map_err(plain)? {
        Revoked::Ended { count, .. } => Ok(Invalidated { sessions_invalidated: count }),
        // Only what names no user is ended all at once.
        Revoked::Raised { .. } => Err(Failure::impossible("an end of many without a user")),
    }
}

fn missing(stop: Stop) -> Failure {
    Failure::of(stop, |refused| (refused.refusal.code == Code::NotFound).then(Failure::no_session))
}
