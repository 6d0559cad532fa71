//! A key is handed over by who counts both delays from now; the rule is [`handstamp_core::signing::handover`].

use super::super::callers::Caller;
use super::super::{App, Stop};
use super::Rotation;
use handstamp_core::caller::Scope;
use handstamp_core::jose::key::Algorithm;
use handstamp_core::refusal::Code;
use handstamp_core::signing::LONGEST_DELAY;
use handstamp_core::signing::handover::{Delays, HandedOver, Handover, Misfit, handed_over};
use handstamp_core::time::Span;
use handstamp_core::transition::Impossible;

impl App {
    /// Gives an algorithm a new key, which is published now and used after `begin_in`; the keys that there are end after
    /// `end_in`, both counted from now. Both 0: these are in wrong hands, and end at once. Where there is no key yet a
    /// first one is made before, so that tokens can be signed until the new one begins.
    ///
    /// The name of the new key, and when what will happen, as it is stored.
    ///
    /// # Errors
    /// `rotation_under_way`, `insufficient_scope`, `invalid_request` of delays that do not fit; faults.
    pub async fn hand_over_key(
        &self,
        caller: &Caller,
        algorithm: Algorithm,
        (begin_in, end_in): (Span, Span),
    ) -> Result<(Box<str>, HandedOver), Stop> {
        caller.allow(Scope::KeysWrite)?;
        let (id, job) = (caller.env.record.id, algorithm.into());
        let longest_token = self.env(id)?.policy.longest_access_token();
        let delays = Handover { job, begin_in, end_in }.delays(longest_token);
        let Delays { activate_in, retire_in, emergency } =
            delays.map_err(|misfit| refusal(misfit, begin_in, longest_token))?;
        if !emergency {
            self.have_signing_key(caller, algorithm).await?;
        }
        let ask = Rotation { job, activate_in: Some(activate_in), retire_in: Some(retire_in), emergency };
        let (kid, keys) = self.rotate_key_of(id, caller.by(), ask).await?;
        let told =
            handed_over(&keys, &kid).ok_or(Impossible("a new key is not among those that are stored"))?;
        Ok((kid, told))
    }
}

fn refusal(misfit: Misfit, begin_in: Span, longest_token: Span) -> Stop {
    let sentence = match misfit {
        Misfit::OutOfRange => {
            format!("a delay is a number of seconds, from 0 to {}", LONGEST_DELAY.as_secs())
        }
        Misfit::Gap => format!(
            "the keys that there are would end before the new one begins, after {} seconds, and nothing would sign in between; \
             both 0 ends them at once, because they are in wrong hands",
            begin_in.as_secs()
        ),
        Misfit::TooShort { least } => format!(
            "the keys that there are end after {} seconds at the earliest: under the policy in force an access token may live for \
             {longest_token}, and would be refused before its end; both 0 ends them at once, because they are in wrong hands",
            least.as_secs()
        ),
    };
    Stop::refuse(Code::InvalidRequest, sentence)
}
