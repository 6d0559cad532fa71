//! A creation that is asked for again under the same `Idempotency-Key`.

use super::{Asking, Made};
use crate::app::{App, Stop};
use crate::codec::control::Idempotency;
use crate::store::Key;
use handstamp_core::refusal::Code;
use handstamp_core::transition::create::repeat;

/// An `Idempotency-Key`, the digest of the body it came with, and that of the whole request.
pub(super) struct Again<'a> {
    pub(super) key: Key,
    pub(super) text: &'a str,
    pub(super) body: [u8; 32],
    pub(super) request: [u8; 32],
}

impl App {
    /// The same request again: the same credentials, as long as nobody has presented them. Nobody goes for it again.
    pub(super) async fn again(
        &self,
        asking: &Asking<'_>,
        known: &Idempotency,
        again: &Again<'_>,
    ) -> Result<Made, Stop> {
        if known.body != again.body {
            return Err(Stop::code(Code::IdempotencyKeyReused));
        }
        let env = asking.caller.env.record.id;
        let spent = || Stop::code(Code::IdempotencyKeySpent);
        let loaded = self.load_session(env, known.session).await?.ok_or_else(spent)?;
        let env = self.env(env)?;
        let now = self.now();
        let login = asking.new.login.as_ref();
        let same = repeat(self.ground(&env, now), &loaded.session, &again.request, login);
        let same = same.ok_or_else(spent)?;
        let given = self.given_again(env.record.id, known.session, same, now).await?.ok_or_else(spent)?;
        let view = self.view(&env, loaded, now)?;
        if view.ended.is_some() {
            return Err(spent());
        }
        let new_device = match &view.session().device {
            None => None,
            Some(device) => {
                let session = view.session();
                Some(self.was_new(env.record.id, &session.user, device.key, session.created_at).await?)
            }
        };
        let access = match asking.order {
            Some(order) => Some(self.mint_of(env.record.id, known.session, None, order).await?),
            None => None,
        };
        Ok(Made { view, given, evicted: Vec::new(), new_device, access })
    }
}
