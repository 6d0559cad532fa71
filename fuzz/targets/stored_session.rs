//! Reading the stored bytes of a session: never a panic, never more memory than they are worth; what reads well is what
//! was written, byte for byte; and the form that is read in place says the same as the owned one.
#![no_main]

mod heap;

use handstamp_core::agent::Agent;
use handstamp_core::id::SessionId;
use handstamp_core::rotation::Chain;
use handstamp_core::session::Session;
use handstamp_core::subject::{Endpoint, Subject};
use handstamp_server::codec::packed::Outline;
use handstamp_server::codec::session::{read, write};
use libfuzzer_sys::fuzz_target;

const ID: SessionId = SessionId([7; 16]);

fuzz_target!(|body: &[u8]| {
    let owned = heap::bounded(body, |body| read(ID, body).ok());
    let outline = heap::bounded(body, |body| Outline::read(ID, body).ok());
    if let Some(outline) = &outline {
        // Also of bytes that the owned form refuses, for texts in it that are none.
        walk(&outline.over(body, [None; 2]));
    }
    let Some((session, seen)) = owned else { return };
    let written = write(&session, seen);
    if body.first() == written.first() {
        assert_eq!(written, body);
    } else {
        // An older format: today's says the same.
        let (again, seen) = read(ID, &written).expect("what was just written");
        assert_eq!(write(&again, seen), written);
        same(&outline.as_ref().expect("the owned form is made from it").over(body, [None; 2]), &again);
    }
    let outline = outline.expect("the owned form is made from it");
    same(&outline.over(body, [None; 2]), &session);
    // The cache leaves user agents out of the bytes and lays them over.
    let other = Agent { os: Some("c"), ..Agent::default() };
    let agents = outline.over(body, [Some(("a", Some(other))), Some(("b", None))]);
    assert_eq!(agents.client(), Endpoint { user_agent: Some("a"), agent: Some(other), ..session.client() });
    let last = session.last_client().map(|last| Endpoint { user_agent: Some("b"), agent: None, ..last });
    assert_eq!(agents.last_client(), last);
});

/// Asks for all there is.
fn walk(subject: &impl Subject) -> usize {
    let agent = |at: Endpoint<'_>| {
        let told = at.agent.map_or(0, |agent| agent.display_name().len());
        at.user_agent.map_or(0, str::len) + told
    };
    subject.user().len()
        + subject.tags().map(|(tag, _)| tag.len()).sum::<usize>()
        + subject.groups().map(str::len).sum::<usize>()
        + agent(subject.client())
        + subject.last_client().map_or(0, agent)
        + agent(subject.anchor())
        + subject.methods().map(str::len).sum::<usize>()
        + subject.actor().map_or(0, |(id, reason)| id.len() + reason.len())
        + subject.end().and_then(|end| end.reason.as_deref()).map_or(0, str::len)
}

fn same(packed: &impl Subject, owned: &Session) {
    assert_eq!(packed.id(), Subject::id(owned));
    assert_eq!(packed.user(), Subject::user(owned));
    assert!(packed.tags().eq(Subject::tags(owned)));
    assert!(packed.groups().eq(Subject::groups(owned)));
    assert_eq!(packed.times(), Subject::times(owned));
    assert!(parts(packed.chain()) == parts(&owned.chain));
    assert_eq!(packed.client(), Subject::client(owned));
    assert_eq!(packed.last_client(), Subject::last_client(owned));
    assert_eq!(packed.device(), Subject::device(owned));
    assert_eq!(packed.level(), Subject::level(owned));
    assert_eq!(packed.anchor(), Subject::anchor(owned));
    assert_eq!(packed.actor(), Subject::actor(owned));
    assert!(packed.methods().eq(Subject::methods(owned)));
    assert_eq!(packed.end(), Subject::end(owned));
    assert_eq!(packed.tokens_until(), Subject::tokens_until(owned));
    assert_eq!(packed.status_index(), Subject::status_index(owned));
    assert_eq!(walk(packed), walk(owned));
}

/// Secrets are not compared by `==`; here they are no secrets.
fn parts(chain: &Chain) -> impl PartialEq {
    let of = |v: &handstamp_core::rotation::Verifiers| {
        (*v.session.bytes(), v.refresh.as_ref().map(|refresh| *refresh.bytes()))
    };
    (
        (chain.generation, chain.made_at, chain.made_by, chain.key_id),
        (of(&chain.current), chain.previous.as_deref().map(of)),
        (chain.awaiting, chain.noted.clone(), chain.stolen_below),
    )
}
