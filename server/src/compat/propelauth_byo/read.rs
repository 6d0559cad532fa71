//! Texts of a command, read into values of their own types.

use super::failure::Failure;
use crate::app::search::Filter;
use crate::app::update::{DATA_MOST, DataChange, Update};
use crate::json;
use handstamp_core::id::{SessionId, UserId};
use handstamp_core::session::Client;
use handstamp_core::tag::Tag;
use handstamp_core::transition::update::Patch;
use serde_json::value::RawValue;

/// A user's id.
pub(super) fn user(pointer: &str, text: &str) -> Result<UserId, Failure> {
    UserId::new(text).map_err(|why| Failure::invalid(pointer, &why))
}

/// A session's id.
pub(super) fn session(text: &str) -> Result<SessionId, Failure> {
    SessionId::parse(text).ok_or_else(Failure::no_session)
}

/// Who is at the other end, as the caller tells it.
///
/// # Errors
/// An address that cannot be read.
pub(super) fn client(ip: Option<&str>, user_agent: Option<&str>) -> Result<Client, Failure> {
    let wrong = || {
        Failure::invalid("/data/ipAddress", "not an IP address: write it such as 203.0.113.7 or 2001:db8::7")
    };
    let ip = ip.map(|text| Client::read_ip(text).ok_or_else(wrong)).transpose()?;
    Ok(Client::told(ip, user_agent))
}

/// Tags, each of which must be one; `bad` says what is told of the first that is not.
pub(super) fn tags(
    pointer: &str,
    texts: Option<Vec<String>>,
    bad: impl Fn(&str) -> Failure,
) -> Result<Vec<Tag>, Failure> {
    let texts = texts.unwrap_or_default();
    if texts.len() > Tag::MOST {
        let message = format!("at most {} tags, these are {}", Tag::MOST, texts.len());
        return Err(Failure::invalid(pointer, &message));
    }
    texts.iter().map(|text| Tag::parse(text).map_err(|_| bad(text))).collect()
}

/// Tags by which sessions are found.
pub(super) fn wanted(pointer: &str, texts: Option<Vec<String>>) -> Result<Vec<Tag>, Failure> {
    tags(pointer, texts, |_| Failure::no_tag(pointer))
}

/// Live sessions of a user and with tags, as far as either is named.
pub(super) fn filter(at: &str, user_id: Option<&str>, tags: Option<Vec<String>>) -> Result<Filter, Failure> {
    Ok(Filter {
        user: user_id.map(|text| user(&format!("{at}/userId"), text)).transpose()?,
        tags: wanted(&format!("{at}/sessionTags"), tags)?,
        ..Filter::default()
    })
}

/// Data of a session: any sound JSON up to 16 KiB.
pub(super) fn metadata(
    pointer: &str,
    value: Option<Box<RawValue>>,
) -> Result<Option<Box<RawValue>>, Failure> {
    let Some(value) = value else { return Ok(None) };
    if value.get().len() > DATA_MOST {
        let message = format!("at most {DATA_MOST} bytes, this has {}", value.get().len());
        return Err(Failure::invalid(pointer, &message));
    }
    json::sound(pointer, &value).map_err(|wrong| Failure::wrong(&wrong, ""))?;
    Ok(Some(value))
}

/// What changes in a session.
///
/// # Errors
/// `ConflictingMetadataOptions`, `InvalidTagFormat`, bad input.
pub(super) fn change(
    remove: Option<Vec<String>>,
    add: Option<Vec<String>>,
    new: Option<Box<RawValue>>,
    patch: Option<Box<RawValue>>,
) -> Result<Update, Failure> {
    let data = match (metadata("/data/newMetadata", new)?, metadata("/data/patchMetadata", patch)?) {
        (Some(_), Some(_)) => return Err(Failure::unit("ConflictingMetadataOptions", 400)),
        (Some(new), None) => DataChange::Replace(new.get().to_owned()),
        (None, Some(patch)) => DataChange::Merge(patch),
        (None, None) => DataChange::Keep,
    };
    let bad = |text: &str| Failure::bad_tag("InvalidTagFormat", text);
    let patch = Patch {
        add_tags: tags("/data/tagsToAdd", add, bad)?,
        remove_tags: tags("/data/tagsToRemove", remove, bad)?,
        ..Patch::default()
    };
    Ok(Update { patch, data })
}
