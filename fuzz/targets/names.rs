//! Reading tags, groups, user ids, environment names, ids, codes and scopes: each is kept byte for byte, or refused with
//! a sentence that can be logged.
#![no_main]

use handstamp_core::caller::Scope;
use handstamp_core::environment::EnvironmentName;
use handstamp_core::id::{KeyId, SessionId, UserId};
use handstamp_core::refusal::Code;
use handstamp_core::tag::{Group, Tag};
use libfuzzer_sys::fuzz_target;

fn said<T>(read: Result<T, String>) -> Option<T> {
    read.map_err(|said| assert!(!said.chars().any(char::is_control), "{said:?}")).ok()
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(tag) = said(Tag::parse(text)) {
        assert_eq!(format!("{}:{}", tag.name(), tag.value()), text);
        assert!(!text.contains(',') && tag.name().len() <= 64 && (1..=128).contains(&tag.value().len()));
    }
    if let Some(group) = said(Group::parse(text)) {
        assert!(group.as_str() == text && !text.contains(','));
    }
    if let Some(user) = said(UserId::new(text)) {
        assert!(user.as_str() == text && text.len() <= UserId::LONGEST);
    }
    if let Some(name) = said(EnvironmentName::parse(text)) {
        assert_eq!(name.to_string(), text);
    }
    if let Some(id) = SessionId::parse(text) {
        assert_eq!(id.to_string(), text);
        assert_eq!(SessionId::floor(id.made_at()).made_at(), id.made_at());
    }
    if let Some(id) = KeyId::parse(text) {
        assert_eq!(id.to_string(), text);
    }
    assert!(Code::parse(text).is_none_or(|code| code.text() == text));
    assert!(Scope::parse(text).is_none_or(|scope| scope.text() == text));
});
