//! A session as JSON on the hot path: the same bytes as [`super::wire::SessionBody`], written straight into the answer.
//!
//! A validation is mostly the writing of its answer. Here each text is written once, into one buffer, and texts of our
//! own making (ids, times, numbers) are not searched for characters to escape. A test holds the two forms together.

use super::wire::SessionBody;
use crate::app::view::{Current, View};
use handstamp_core::agent::DisplayName;
use handstamp_core::base62;
use handstamp_core::expiry::Ends;
use handstamp_core::id::SessionId;
use handstamp_core::subject::{Endpoint, Subject};
use handstamp_core::time::Millis;
use std::fmt::{self, Write as _};
use std::io::Write;
use std::net::IpAddr;

/// Appends a session that memory answers for.
pub(super) fn current(out: &mut Vec<u8>, current: &Current) {
    let Current { kept, outline, seen, ends, good: _ } = current;
    live(out, &kept.subject(outline), kept.data(), *seen, ends);
}

/// Appends the session.
pub(super) fn session(out: &mut Vec<u8>, view: &View) {
    if view.ended.is_some() {
        // No validation ends here; kept whole so that nobody has to know that.
        let _ = serde_json::to_writer(out, &SessionBody::of(view));
        return;
    }
    let data = view.held.data.as_deref().map(|data| data.get().as_bytes());
    live(out, &view.held.session, data, view.seen, &view.ends);
}

fn live(out: &mut Vec<u8>, session: &impl Subject, data: Option<&[u8]>, seen: Millis, ends: &Ends) {
    let times = session.times();
    out.extend_from_slice(b"{\"id\":\"");
    out.extend_from_slice(SessionId::PREFIX.as_bytes());
    base62::encode_bytes(&session.id().0, out);
    out.extend_from_slice(b"\",\"user_id\":");
    text(out, session.user());
    out.extend_from_slice(b",\"tags\":[");
    list(out, session.tags().map(|(tag, _)| tag));
    out.extend_from_slice(b"],\"data\":");
    out.extend_from_slice(data.unwrap_or(b"null"));
    out.extend_from_slice(b",\"access_groups\":[");
    list(out, session.groups());
    out.extend_from_slice(b"],\"state\":\"live\",\"created_at\":");
    let created = time(out, times.created_at);
    out.extend_from_slice(b",\"authenticated_at\":");
    again(out, times.authenticated_at, &[(times.created_at, created)]);
    out.extend_from_slice(b",\"last_active_at\":");
    time(out, seen);
    out.extend_from_slice(b",\"expires_at\":");
    let earliest = time(out, ends.earliest());
    out.extend_from_slice(b",\"absolute_expires_at\":");
    again(out, ends.absolute, &[(ends.earliest(), earliest)]);
    out.extend_from_slice(b",\"idle_expires_at\":");
    again(out, ends.idle, &[(ends.earliest(), earliest)]);
    assured(out, session);
    out.extend_from_slice(b",\"client\":");
    client(out, session.client());
    if let Some(last) = session.last_client() {
        out.extend_from_slice(b",\"last_client\":");
        client(out, last);
    }
    if let Some((id, registered_at)) = session.device() {
        let _ = write!(out, ",\"device\":{{\"id\":\"{id}\",\"registered_at\":");
        time(out, registered_at);
        out.push(b'}');
    }
    out.extend_from_slice(b",\"generation\":");
    let _ = write!(out, "{}", session.chain().generation);
    if session.chain().has_refresh() {
        out.extend_from_slice(b",\"has_refresh_token\":true");
    }
    if let Some(since) = session.chain().pending_since() {
        out.extend_from_slice(b",\"rotation_pending_since\":");
        time(out, since);
    }
    out.push(b'}');
}

/// How surely it is the user, and who acts in their place.
fn assured(out: &mut Vec<u8>, session: &impl Subject) {
    out.extend_from_slice(b",\"auth\":");
    match session.level() {
        None => out.extend_from_slice(b"null"),
        Some(level) => {
            out.extend_from_slice(b"{\"methods\":[");
            list(out, session.methods());
            let _ = write!(out, "],\"level\":{},\"at\":", level.get());
            time(out, session.times().authenticated_at);
            out.push(b'}');
        }
    }
    out.extend_from_slice(b",\"actor\":");
    match session.actor() {
        None => out.extend_from_slice(b"null"),
        Some((id, reason)) => {
            out.extend_from_slice(b"{\"id\":");
            text(out, id);
            out.extend_from_slice(b",\"reason\":");
            text(out, reason);
            out.push(b'}');
        }
    }
}

fn client(out: &mut Vec<u8>, client: Endpoint<'_>) {
    out.extend_from_slice(b"{\"ip\":");
    match client.ip {
        None => out.extend_from_slice(b"null"),
        Some(ip) => {
            out.push(b'"');
            address(out, ip);
            out.push(b'"');
        }
    }
    out.extend_from_slice(b",\"user_agent\":");
    match client.user_agent {
        None => out.extend_from_slice(b"null"),
        Some(agent) => text(out, agent),
    }
    let Some(agent) = client.agent else {
        out.extend_from_slice(b",\"browser\":null,\"os\":null,\"device_type\":null,\"display_name\":null}");
        return;
    };
    for (name, value) in [(&b",\"browser\":"[..], agent.browser), (b",\"os\":", agent.os)] {
        out.extend_from_slice(name);
        match value {
            None => out.extend_from_slice(b"null"),
            Some(value) => text(out, value),
        }
    }
    out.extend_from_slice(b",\"device_type\":\"");
    out.extend_from_slice(agent.device.text().as_bytes());
    out.extend_from_slice(b"\",\"display_name\":\"");
    let _ = write!(Escaped(out), "{}", DisplayName(agent));
    out.extend_from_slice(b"\"}");
}

/// The inside of a JSON text that is written in parts.
struct Escaped<'a>(&'a mut Vec<u8>);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        if has_escapes(part.as_bytes()) {
            let quoted = serde_json::to_string(part).map_err(|_| fmt::Error)?;
            let inside = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            self.0.extend_from_slice(inside.unwrap_or_default().as_bytes());
        } else {
            self.0.extend_from_slice(part.as_bytes());
        }
        Ok(())
    }
}

fn list<'a>(out: &mut Vec<u8>, mut items: impl Iterator<Item = &'a str>) {
    if let Some(first) = items.next() {
        text(out, first);
    }
    for item in items {
        out.push(b',');
        text(out, item);
    }
}

fn address(out: &mut Vec<u8>, ip: IpAddr) {
    let IpAddr::V4(ip) = ip else {
        let _ = write!(out, "{ip}");
        return;
    };
    for (at, byte) in ip.octets().into_iter().enumerate() {
        if at > 0 {
            out.push(b'.');
        }
        if byte >= 100 {
            out.push(b'0' + byte / 100);
        }
        if byte >= 10 {
            out.push(b'0' + byte / 10 % 10);
        }
        out.push(b'0' + byte % 10);
    }
}

/// Whether JSON wants something escaped. Each byte is looked at, many at a time: almost never is there anything.
fn has_escapes(text: &[u8]) -> bool {
    text.chunks(32)
        .any(|some| some.iter().fold(false, |found, b| found | (*b < 0x20) | (*b == b'"') | (*b == b'\\')))
}

/// A text of somebody else's making.
fn text(out: &mut Vec<u8>, text: &str) {
    if has_escapes(text.as_bytes()) {
        let _ = serde_json::to_writer(out, text);
        return;
    }
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

fn time(out: &mut Vec<u8>, at: Millis) -> [u8; 24] {
    let written = at.rfc3339();
    quoted(out, &written);
    written
}

/// A time that was probably written already.
fn again(out: &mut Vec<u8>, at: Millis, known: &[(Millis, [u8; 24])]) {
    match known.iter().find(|(time, _)| *time == at) {
        Some((_, written)) => quoted(out, written),
        None => {
            time(out, at);
        }
    }
}

fn quoted(out: &mut Vec<u8>, written: &[u8; 24]) {
    out.push(b'"');
    out.extend_from_slice(written);
    out.push(b'"');
}
