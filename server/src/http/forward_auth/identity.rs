//! Who it is, in headers. On every verdict that lets a request pass each of them is there, empty when there is nothing
//! to say: a proxy that copies them over the client's own leaves nothing of a client that sends some itself.

use crate::app::visit::Visitor;
use handstamp_core::device::base64url;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::fmt::Write;

const ID: HeaderName = HeaderName::from_static("x-session-id");
const USER: HeaderName = HeaderName::from_static("x-session-user");
const TAGS: HeaderName = HeaderName::from_static("x-session-tags");
const GROUPS: HeaderName = HeaderName::from_static("x-session-groups");
const DATA: HeaderName = HeaderName::from_static("x-session-data");

/// The most bytes of the header that carries a session's data: heads have to fit into what proxies and applications
/// take. Data that is larger is left out; data that there is none of is `null`, so the two differ.
pub const DATA_MOST: usize = 4 * 1_024;

/// Writes who it is, with the session's data where that is wanted.
pub(super) fn write(headers: &mut HeaderMap, visitor: &Visitor, with_data: bool) {
    let data = with_data.then(|| visitor.data.as_deref().unwrap_or("null").as_bytes());
    let data = data.map(base64url::encode).filter(|text| text.len() <= DATA_MOST);
    for (name, value) in [
        (ID, visitor.session.to_string()),
        (USER, list([visitor.user.as_str()])),
        (TAGS, list(visitor.tags.iter().map(String::as_str))),
        (GROUPS, list(visitor.groups.iter().map(String::as_str))),
        (DATA, data.unwrap_or_default()),
    ] {
        // All of it is visible ASCII, so a value is never refused; an empty one would still be in its place.
        headers.insert(name, HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static("")));
    }
}

/// Texts, separated by commas, which no tag and no group has.
fn list<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut out = String::new();
    for (at, text) in texts.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        percent_encode(&mut out, text);
    }
    out
}

/// As `encodeURIComponent` does and `decodeURIComponent` undoes, but that colons and at signs stay what they are: tags
/// and addresses of mail can then be read, and compared, as they were written.
pub(super) fn percent_encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':' | b'@') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}
