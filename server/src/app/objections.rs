//! Changes of a session that a rule refuses: why, in words; and the line of history about it.

use super::callers::Party;
use super::{App, Refused, Stop};
use handstamp_core::event::Event;
use handstamp_core::id::SessionId;
use handstamp_core::policy::Origin;
use handstamp_core::refusal::{Code, Refusal};
use handstamp_core::session::Client;
use handstamp_core::tag::{Group, Tag};
use handstamp_core::transition::update::{Fixed, Objection, Stays};

impl App {
    /// The same outcome; when a rule refused the change, history knows of it.
    pub(super) async fn noted<T>(
        &self,
        party: &Party,
        id: SessionId,
        client: Client,
        outcome: Result<T, Stop>,
    ) -> Result<T, Stop> {
        if let Err(Stop::Refused(refused)) = &outcome
            && refused.refusal.code.is_by_rule()
        {
            self.note_change(party, id, client, refused).await;
        }
        outcome
    }

    async fn note_change(&self, party: &Party, id: SessionId, client: Client, refused: &Refused) {
        let env = party.env.record.id;
        // An accident on the way does not make another answer of the refusal.
        let Ok(Some(loaded)) = self.load_session(env, id).await else { return };
        let (refusal, now) = (&refused.refusal, self.now());
        let event = Event::refused(&loaded.session, refusal, now, party.by.clone(), client);
        let event = Event { note: refused.detail.as_deref().map(Into::into), ..event };
        self.behind.note(env, &loaded.session, refusal, event, now);
    }
}

/// Somebody acts in the user's place, and may not do that.
pub(super) fn impersonated() -> Stop {
    Stop::from(Refusal::plain(Code::ImpersonationForbidden, "impersonation"))
}

/// In words.
pub(super) fn objected(why: Objection) -> Stop {
    match why {
        Objection::TooManyTags => {
            Stop::field("/tags/add", format!("a session carries at most {} tags", Tag::MOST))
        }
        Objection::TooManyGroups => {
            let most = Group::MOST;
            Stop::field("/access_groups/add", format!("a session is in at most {most} access groups"))
        }
        Objection::Fixed(tags) => fixed(tags),
    }
}

/// All of them, and why: tags that stay for the same reason are named together.
pub(super) fn fixed(tags: Vec<Fixed>) -> Stop {
    let mut together: Vec<(Vec<&Tag>, &Stays)> = Vec::new();
    for Fixed { tag, why } in &tags {
        let same = |(tags, known): &(Vec<&Tag>, &Stays)| {
            *known == why && tags.iter().any(|t| t.name() == tag.name())
        };
        match together.iter().position(same).and_then(|at| together.get_mut(at)) {
            Some((tags, _)) => tags.push(tag),
            None => together.push((vec![tag], why)),
        }
    }
    let sentences: Vec<String> = together.iter().map(|(tags, why)| stay(tags, why)).collect();
    let origin = tags.first().and_then(|first| match &first.why {
        Stays::CreateOnly(origin) => Some(origin.clone()),
        Stays::Frees(_) => Some(Origin::Tag(first.tag.as_str().into())),
        Stays::SaysWhoActs => None,
    });
    let refusal = Refusal { code: Code::TagCreateOnly, rule: "create_only_tags", origin, evidence: None };
    Stop::Refused(Box::new(Refused {
        detail: Some(sentences.join("; ")),
        fixed: tags,
        ..Refused::from(refusal)
    }))
}

fn stay(tags: &[&Tag], why: &Stays) -> String {
    let named: Vec<String> = tags.iter().map(|tag| format!("`{}`", tag.as_str())).collect();
    let (named, name) = (named.join(", "), tags.first().map_or("", |tag| tag.name()));
    match why {
        Stays::SaysWhoActs => format!("{named} says that somebody acts in the user's place, and stays"),
        Stays::Frees(freed) => {
            let section = if tags.len() > 1 { "their sections name" } else { "its section names" };
            format!("{named} cannot go: {section} `{freed}` in create_only_tags, which would be free then")
        }
        Stays::CreateOnly(origin) => {
            let by = origin.text();
            format!("{named} cannot change on a live session: create_only_tags names `{name}`, by {by}")
        }
    }
}
