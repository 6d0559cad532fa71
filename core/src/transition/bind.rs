//! A live session gets the device that it is bound to from then on.

use super::{Change, Living};
use crate::device::key::PublicKey;
use crate::device::{Registered, may_register};
use crate::event::{Event, EventKind};
use crate::refusal::Refusal;
use crate::session::{By, Client};

/// Binds the session to a key that its device has proved to have (see [`crate::device::introduce`]). There is no
/// transition back: whoever could take the device off a session could use a stolen token without it.
///
/// # Errors
/// See [`may_register`].
pub fn bind(living: Living<'_>, key: PublicKey, by: By, client: Client) -> Result<Change, Refusal> {
    let Living { ground, session } = living;
    may_register(session.authenticated_at, session.device.as_deref(), ground.now)?;
    let mut next = session.clone();
    let device = Registered::new(key, ground.now);
    let mut event = Event::of(session, EventKind::Updated, ground.now, by, client);
    event.note = Some(format!("device {}", device.id).into());
    next.device = Some(Box::new(device));
    Ok(Change { session: next, user: None, events: vec![event] })
}
