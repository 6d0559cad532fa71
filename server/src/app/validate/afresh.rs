//! Every other outcome than "newest generation, allowed, nothing to do", and the exchange of a refresh token: decided on a fresh
//! load, in the turn of the session's bucket, and committed before the answer.

use super::{Ask, Validated, over_budget, refused};
use crate::app::access_tokens::{Draft, Order, Places};
use crate::app::control::Env;
use crate::app::devices::prove;
use crate::app::kept::Mark;
use crate::app::records::{Decision, Loaded, Stage};
use crate::app::{App, Stop};
use handstamp_core::device::Passed;
use handstamp_core::device::challenge;
use handstamp_core::event::Event;
use handstamp_core::judge::{Demand, Effect, Shown, Verdict, judge_shown};
use handstamp_core::refusal::{Code, Refusal};
use handstamp_core::session::{By, Session};
use handstamp_core::time::Millis;
use handstamp_core::transition::Change;
use handstamp_core::transition::present::{Presented, present};

impl App {
    /// Load, judge, commit.
    pub(in crate::app) async fn validate_afresh(
        &self,
        env: &Env,
        shown: Shown<'_>,
        ask: &Ask<'_>,
    ) -> Result<Validated, Stop> {
        let id = shown.session();
        let decided = self.decide(id.bucket(), || async {
            let told_until = self.good_if_read_now();
            let loaded = self.load_session(env.record.id, id).await?;
            // The ledger may have changed while this request waited for its turn, and for the store.
            let env = self.env(env.record.id)?;
            let now = self.now();
            let Some(loaded) = loaded else {
                let refusal = Refusal::plain(Code::SessionNotFound, "token");
                return Ok(Decision::Answer((refused(refusal, Some(id)), None)));
            };
            let effective = env.policy.of(&loaded.session);
            let read = self.other_agent(&loaded.session, &effective, ask);
            let demand = ask.demand(&loaded.session, read.as_deref());
            let ground = self.ground(&env, now);
            let rule = |demand| {
                judge_shown(&loaded.session, loaded.seen, shown, ground.bench(), &effective, demand, now)
            };
            let mut verdict = rule(demand);
            let mut used = None;
            if verdict.refusal.is_none() {
                let came = (&ask.device, ask.device_demand, ask.endpoint());
                match self.judge_device(&env, &effective, &loaded, came, now).await? {
                    Ok(Passed::Unasked) => {}
                    Ok(Passed::Excused) => verdict = rule(Demand { can_deliver: false, ..demand }),
                    Ok(Passed::Proved(challenge)) => used = Some(challenge),
                    Err(refusal) => {
                        // Who is not the device gets no successor; what is noted of the token stays noted.
                        let Verdict { effect, .. } = rule(Demand { can_deliver: false, ..demand });
                        verdict = Verdict { refusal: Some(refusal), effect, ..Verdict::PASS };
                    }
                }
            }
            // Paid before anything is noted or changed: a request over its budget leaves no trace in the session.
            let good = verdict.refusal.as_ref().is_none_or(|refusal| !refusal.code.denies_session());
            if good && self.is_over(ask, &env, &loaded.session) {
                return Ok(Decision::Answer((over_budget(id), None)));
            }
            if let Some(refusal) = &verdict.refusal
                && matches!(verdict.effect, Effect::Nothing | Effect::Note | Effect::StoreBehind)
            {
                let more = (verdict.effect == Effect::StoreBehind).then(|| "store_behind".into());
                let event = Event::refused(&loaded.session, refusal, now, By::Client, self.client_of(ask));
                let event = Event { note: more, ..event };
                self.behind.note(env.record.id, &loaded.session, refusal, event, now);
            }
            if let Some(what) = &verdict.noticed {
                let event = Event::noticed(&loaded.session, what, now, By::Client, self.client_of(ask));
                self.behind.note(env.record.id, &loaded.session, what, event, now);
            }
            let user = match verdict.effect {
                Effect::EndStolen | Effect::End | Effect::Settle => {
                    Some(self.load_user(env.record.id, &loaded.session.user).await?)
                }
                Effect::Nothing | Effect::Note | Effect::Rotate | Effect::Again | Effect::StoreBehind => None,
            };
            let record = user.as_ref().map(|u| u.user.clone());
            let record =
                record.unwrap_or_else(|| handstamp_core::user::User::new(loaded.session.user.clone()));
            let mut presented =
                present(ground, &loaded.session, loaded.seen, record, shown, &verdict, &ask.client())?;
            let allowed = verdict.refusal.is_none();
            let seen = if allowed && ask.touch { loaded.seen.max(now) } else { loaded.seen };
            let order = ask.order.filter(|_| allowed);
            let draft = match order {
                Some(order) => Some(self.ordered(&env, &loaded.session, &mut presented, seen, order, now)?),
                None => None,
            };
            let mut stage = presented.change.as_ref().map(|change| {
                let mut stage = Stage::new(id.bucket(), now);
                stage.change(self, &env, &loaded, user.as_ref(), change, seen);
                stage
            });
            let mut later = None;
            let answer = match verdict.refusal {
                Some(refusal) => {
                    let to = challenge::Client::Session(id);
                    let fresh = self.challenge_with(refusal.code, env.record.id, to)?.map(Box::new);
                    Validated::Refused { refusal: Box::new(refusal), session: Some(id), challenge: fresh }
                }
                None => {
                    let next =
                        presented.change.map_or_else(|| loaded.session.clone(), |change| change.session);
                    let Loaded { offered, version, .. } = loaded;
                    let view = self.view(&env, Loaded { session: next, seen, offered, version }, now)?;
                    if shown.is_activity() && ask.is_elsewhere(&view.held.session) {
                        self.observer.offer(env.record.id, id, ask.client());
                    }
                    if stage.is_none() && ask.touch {
                        let (known, idle) = ((loaded.seen, offered), view.idle());
                        let mark = Mark::new(loaded.seen, offered, true);
                        let durable = self.must_be_written((env.record.id, id), &mark, idle, now);
                        match (durable, &used) {
                            (true, None) => {
                                if !self.write_seen((env.record.id, id), now).await? {
                                    return Ok(Decision::Again);
                                }
                            }
                            (true, Some(_)) => {
                                // Only if nobody else has used the challenge: with that, in one batch.
                                let stage = stage.insert(Stage::new(id.bucket(), now));
                                stage.session(self, &env, Some(&loaded), &loaded.session, seen);
                            }
                            (false, _) => later = Some((known, idle, now)),
                        }
                    }
                    let to = challenge::Client::Session(id);
                    let fresh = used.map(|_| self.give_challenge(env.record.id, to)).transpose()?;
                    let challenge = fresh.map(Box::new);
                    Validated::Allowed {
                        view: Box::new(view),
                        issued: presented.issued,
                        challenge,
                        draft: draft.map(Box::new),
                        good: told_until,
                    }
                }
            };
            if let Some(challenge) = &used {
                let stage = stage.get_or_insert_with(|| Stage::new(id.bucket(), now));
                stage.op(prove::used(env.record.id, id.bucket(), challenge));
            }
            Ok(match stage {
                Some(stage) => Decision::Commit(stage, (answer, later)),
                None => Decision::Answer((answer, later)),
            })
        });
        let (answer, later) = decided.await?;
        if let Some((known, idle, at)) = later {
            self.note_loaded((env.record.id, id), known, idle, at).await?;
        }
        Ok(answer)
    }

    /// The access token that was ordered beside the successor, and what the session remembers of it.
    fn ordered(
        &self,
        env: &Env,
        before: &Session,
        presented: &mut Presented,
        seen: Millis,
        order: &Order,
        now: Millis,
    ) -> Result<Draft, Stop> {
        let change = presented.change.as_mut().map(|change| &mut change.session);
        let mut next = change.as_deref().unwrap_or(before).clone();
        let known = (next.tokens_until, next.status_index);
        let draft = self.draft_beside(env, &mut next, seen, order, (now, Places::Take))?;
        match change {
            Some(session) => *session = next,
            None if (next.tokens_until, next.status_index) == known => {}
            None => presented.change = Some(Change { session: next, user: None, events: Vec::new() }),
        }
        Ok(draft)
    }
}
