//! A live session changes: tags, groups, data, times; or its user authenticates again.

use super::create::Proved;
use super::{Change, Entropy, Impossible, Living, create};
use crate::event::{Event, EventKind};
use crate::expiry;
use crate::policy::{Effective, Origin};
use crate::rotation::{Issued, MadeBy, issue};
use crate::session::{Actor, By, Client, HeldTag, Session};
use crate::subject::Subject;
use crate::tag::{Group, Tag};
use crate::token::opaque::{Holder, Nonce};

/// What the caller asks for.
#[derive(Clone, Default)]
pub struct Patch {
    /// Tags to add.
    pub add_tags: Vec<Tag>,
    /// Tags to remove; one that is also added stays.
    pub remove_tags: Vec<Tag>,
    /// Groups to add.
    pub add_groups: Vec<Group>,
    /// Groups to remove; one that is also added stays.
    pub remove_groups: Vec<Group>,
    /// New data in the clear; `Some(None)` would be the same as JSON `null` and is not used.
    pub data: Option<Vec<u8>>,
    /// Restart the idle time.
    pub extend: bool,
}

impl Patch {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.add_tags.is_empty()
            && self.remove_tags.is_empty()
            && self.add_groups.is_empty()
            && self.remove_groups.is_empty()
            && self.data.is_none()
            && !self.extend
    }
}

/// Why a patch is not applied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Objection {
    /// See [`Tag::MOST`].
    TooManyTags,
    /// See [`Group::MOST`].
    TooManyGroups,
    /// All tags that would come or go and may not, each once: first those that would come. There is at least one.
    Fixed(Vec<Fixed>),
}

/// A tag that may not come or go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fixed {
    /// Which.
    pub tag: Tag,
    /// Why.
    pub why: Stays,
}

/// Why a tag may not come or go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stays {
    /// Tags of this name stay as they were at creation (`create_only_tags`).
    CreateOnly(Origin),
    /// The section of the tag names that name in `create_only_tags`, and nothing else of the session does: without the tag
    /// the name would be free.
    Frees(Box<str>),
    /// It says that somebody acts in the user's place.
    SaysWhoActs,
}

/// Why an authentication does not count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoLogin {
    /// Somebody acts in the user's place: they cannot prove to be the user.
    Impersonated,
    /// It was before the last one.
    Older,
}

/// Applies the patch. Tags that the session already carried keep the epoch at which it got them.
///
/// # Errors
/// [`Objection`].
pub fn update(
    living: Living<'_>,
    patch: &Patch,
    by: By,
    entropy: &Entropy,
) -> Result<Result<Change, Objection>, Impossible> {
    let Living { ground, session } = living;
    let fixed = fixed(living, patch);
    if !fixed.is_empty() {
        return Ok(Err(Objection::Fixed(fixed)));
    }
    let mut next = session.clone();
    let mut tags: Vec<HeldTag> =
        session.tags.iter().filter(|held| !patch.remove_tags.contains(&held.tag)).cloned().collect();
    for tag in &patch.add_tags {
        if !tags.iter().any(|held| held.tag == *tag) {
            // One that was removed and added by the same patch was carried all the time.
            let since = session
                .tags
                .iter()
                .find(|held| held.tag == *tag)
                .map_or(ground.ledger.counter, |held| held.since);
            tags.push(HeldTag { tag: tag.clone(), since });
        }
    }
    tags.sort_unstable_by(|a, b| a.tag.cmp(&b.tag));
    let mut groups: Vec<Group> =
        session.groups.iter().filter(|g| !patch.remove_groups.contains(g)).cloned().collect();
    groups.extend(patch.add_groups.iter().cloned());
    groups.sort_unstable();
    groups.dedup();
    if tags.len() > Tag::MOST {
        return Ok(Err(Objection::TooManyTags));
    }
    if groups.len() > Group::MOST {
        return Ok(Err(Objection::TooManyGroups));
    }
    next.tags = tags.into_boxed_slice();
    next.groups = groups.into_boxed_slice();
    if let Some(plain) = &patch.data {
        next.data = Some(Box::new(create::seal(ground, session.id, plain, entropy)?));
    }
    // Of the tags that it has from now on.
    if let Some(limits) = expiry::adopt(&next, &ground.policy.of(&next)) {
        next.limits = limits;
    }
    let mut event = Event::of(session, EventKind::Updated, ground.now, by, Client::default());
    event.note = Some(note(patch, session, &next).into());
    Ok(Ok(Change { session: next, user: None, events: vec![event] }))
}

/// The tags that would come or go and may not. What is added and there already, or removed and not there, changes nothing.
///
/// Nobody gets out of a list in several steps: no name that it has changes, and no change makes it shorter.
fn fixed(living: Living<'_>, patch: &Patch) -> Vec<Fixed> {
    let Living { ground, session } = living;
    let kept = session.tags.iter().map(|held| &held.tag).filter(|tag| !patch.remove_tags.contains(tag));
    let after: Vec<&str> = kept.chain(&patch.add_tags).map(Tag::as_str).collect();
    // A tag that brings a rule cannot come in the same breath as what the rule forbids.
    let policies = [ground.policy.of(session), ground.policy.of_tags(after)];
    let [before, after] = &policies;
    let create_only = |tag: &Tag| {
        let mut lists = policies.iter().flat_map(|policy| &policy.create_only_tags);
        let found = lists.find(|list| list.value.names(tag.as_str()))?;
        Some(Stays::CreateOnly(found.origin.clone()))
    };
    let freed: Vec<&str> = named(before).filter(|name| named(after).all(|still| still != *name)).collect();
    let frees = |tag: &Tag| {
        let own = ground.policy.of_tags([tag.as_str()]);
        let freed = freed.iter().find(|freed| named(&own).any(|name| name == **freed))?;
        Some(Stays::Frees((*freed).into()))
    };
    let acts =
        |tag: &Tag| (session.actor.is_some() && tag.as_str() == Actor::TAG).then_some(Stays::SaysWhoActs);
    let comes = patch.add_tags.iter().filter(|tag| !session.has_tag(tag));
    let comes = comes.filter_map(|tag| Some((tag, create_only(tag)?)));
    let goes = patch.remove_tags.iter().filter(|tag| session.has_tag(tag) && !patch.add_tags.contains(tag));
    let goes =
        goes.filter_map(|tag| Some((tag, acts(tag).or_else(|| create_only(tag)).or_else(|| frees(tag))?)));
    let mut fixed: Vec<Fixed> = Vec::new();
    for (tag, why) in comes.chain(goes) {
        if !fixed.iter().any(|known| known.tag == *tag) {
            fixed.push(Fixed { tag: tag.clone(), why });
        }
    }
    fixed
}

fn named(policy: &Effective) -> impl Iterator<Item = &str> {
    policy.create_only_tags.iter().flat_map(|list| list.value.iter())
}

/// What history says has changed: names, never data.
fn note(patch: &Patch, before: &Session, after: &Session) -> String {
    let mut parts = Vec::new();
    let tags = |one: &Session, other: &Session, sign: &str| -> Vec<String> {
        let news = one.tags.iter().filter(|held| !other.has_tag(&held.tag));
        news.map(|held| format!("{sign}tag {}", held.tag.as_str())).collect()
    };
    let groups = |one: &Session, other: &Session, sign: &str| -> Vec<String> {
        let news = one.groups.iter().filter(|group| !other.in_group(group));
        news.map(|group| format!("{sign}group {}", group.as_str())).collect()
    };
    parts.extend(tags(after, before, "+"));
    parts.extend(tags(before, after, "-"));
    parts.extend(groups(after, before, "+"));
    parts.extend(groups(before, after, "-"));
    if patch.data.is_some() {
        parts.push("data".to_owned());
    }
    if patch.extend {
        parts.push("extend".to_owned());
    }
    if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
}

/// Lifts a session over a raise of the epoch counter to `at` that is to spare it: from then on it counts as made, and its
/// tags as got, after the raise. History has nothing to say of it.
pub fn lift(living: Living<'_>, at: u64) -> Change {
    let mut next = living.session.clone();
    next.born = at;
    next.tags.iter_mut().for_each(|held| held.since = at);
    Change { session: next, user: None, events: Vec::new() }
}

/// The session was used from elsewhere than what is known of it. `None` when it is known already.
pub fn observe(living: Living<'_>, client: Client) -> Option<Change> {
    let session = living.session;
    let known = session.last_client.as_deref().unwrap_or(&session.client);
    // What the caller did not say is no news.
    let client = Client { ip: client.ip.or(known.ip), ..spoken(&[known, &session.client], client) };
    if client == *known {
        return None;
    }
    let mut next = session.clone();
    next.last_client = (client != session.client).then(|| Box::new(client));
    Some(Change { session: next, user: None, events: Vec::new() })
}

/// The agent of a client. What is known of the same text stays: hints may have told more of it than the text does.
fn spoken(known: &[&Client], client: Client) -> Client {
    let same =
        known.iter().find(|known| client.user_agent.is_none() || known.user_agent == client.user_agent);
    match same {
        Some(same) => Client { user_agent: same.user_agent.clone(), agent: same.agent.clone(), ..client },
        None => client,
    }
}

/// The user authenticated again: both times restart and the credentials rotate with fresh nonces, so that whoever holds
/// the old ones does not get the new (design, section 3.2). `client` is where they did, as far as it is known; later
/// requests are compared with that.
///
/// # Errors
/// [`NoLogin`]; [`Impossible`] when no generation follows.
pub fn authenticate(
    living: Living<'_>,
    proved: Proved,
    client: &Client,
    by: By,
    entropy: &Entropy,
) -> Result<Result<(Change, Issued), NoLogin>, Impossible> {
    let Living { ground, session } = living;
    if session.actor.is_some() {
        return Ok(Err(NoLogin::Impersonated));
    }
    let when = Proved::when(Some(&proved), ground.now);
    if when < session.authenticated_at {
        return Ok(Err(NoLogin::Older));
    }
    let generation =
        session.chain.generation.checked_add(1).ok_or(Impossible("no generation follows the last"))?;
    let holder = Holder { env: ground.env, session: session.id, user: session.user.as_str() };
    let set = ground.keys.current();
    let refresh = session.chain.has_refresh().then(|| Nonce::new(entropy.refresh_nonce()));
    let (issued, verifiers) =
        issue(holder, generation, &Nonce::new(entropy.session_nonce()), refresh.as_ref(), set);
    let mut next = session.clone();
    let effective = ground.policy.of(session);
    next.chain.advance(verifiers, MadeBy::Authentication, set.id, ground.now);
    next.authenticated_at = when;
    next.limits = expiry::initial(session.expires_in, session.chain.has_refresh(), &effective);
    let mut event = Event::of(session, EventKind::RotatedByAuth, ground.now, by, client.clone());
    event.note = Some(login(&proved).into());
    next.auth = Some(Box::new(proved.auth));
    // What the caller does not say of it stays as it was known.
    let known = session.anchor.as_deref().unwrap_or(&session.client);
    let mut here = Client { ip: client.ip.or(known.ip), ..client.clone() };
    if here.user_agent.is_none() {
        (here.user_agent, here.agent) = (known.user_agent.clone(), known.agent.clone());
    }
    next.anchor = (here != session.client).then(|| Box::new(here));
    Ok(Ok((Change { session: next, user: None, events: vec![event] }, issued)))
}

/// What history says of an authentication.
fn login(proved: &Proved) -> String {
    let level = format!("level {}", proved.auth.level.get());
    if proved.auth.methods.is_empty() {
        level
    } else {
        format!("{}, {level}", proved.auth.methods.join(", "))
    }
}
