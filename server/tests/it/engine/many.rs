//! Changes and ends of many: what a refusal says of all of them, and whom an end spares.

use super::house::{House, Plan, good, of_tag, of_user, tags, user, why};
use handstamp_core::policy::setting::TagNames;
use handstamp_core::policy::{Pattern, Policy, Rules};
use handstamp_core::session::Actor;
use handstamp_core::tag::Tag;
use handstamp_core::time::Span;
use handstamp_server::app::Stop;
use handstamp_server::app::end::{Revoke, Revoked, Target};
use handstamp_server::app::search::Filter;
use handstamp_server::app::spared::Except;
use handstamp_server::app::update::Update;
use handstamp_server::store::memory::Memory;
use std::sync::Arc;

fn change(add: &[&str], remove: &[&str]) -> Update {
    let mut ask = Update::default();
    (ask.patch.add_tags, ask.patch.remove_tags) = (tags(add), tags(remove));
    ask
}

/// The names of tags that stay, as a door may tell them, and the sentence.
fn stay<T>(outcome: Result<T, Stop>) -> (Vec<String>, String) {
    let Err(Stop::Refused(refused)) = outcome else { panic!("refused") };
    assert_eq!(refused.refusal.code.text(), "tag_create_only");
    let names = refused.fixed.iter().map(|fixed| fixed.tag.name().to_owned()).collect();
    (names, refused.detail.unwrap())
}

#[tokio::test]
async fn a_refusal_tells_all_tags_that_stay() {
    let names = |some: &[&str]| Some(TagNames::parse(some.iter().copied()).unwrap());
    let of = |create_only_tags| Rules { create_only_tags, ..Rules::default() };
    let sections =
        ["role:admin", "role:root"].map(|tag| (Pattern::parse(tag).unwrap(), of(names(&["seat"]))));
    let policy = Policy::new(of(names(&["org", "plan"])), sections.into());
    let house = House::new(Arc::new(Memory::new()), Plan { policy, ..Plan::idle(Span::hours(1)) }).await;
    let (one, _) = house.create("ada", &["org:acme", "role:admin", "team:red"]).await;
    let (names, sentence) = stay(
        house.update(one, &change(&["plan:paid", "org:b", "team:blue"], &["org:acme", "role:admin"])).await,
    );
    assert_eq!(names, ["plan", "org", "org", "role"]);
    assert_eq!(
        sentence,
        "`plan:paid` cannot change on a live session: create_only_tags names `plan`, by default; \
         `org:b`, `org:acme` cannot change on a live session: create_only_tags names `org`, by default; \
         `role:admin` cannot go: its section names `seat` in create_only_tags, which would be free then"
    );
    // Of many: what each of them lacks or carries, each tag once, and nothing is changed.
    house.create("ada", &["org:acme", "role:root", "plan:free"]).await;
    house.create("ada", &["plan:paid", "team:red"]).await;
    let (plain, _) = house.create("ada", &["team:red"]).await;
    let ask = change(&["team:blue"], &["org:acme", "plan:free", "plan:paid", "role:admin", "role:root"]);
    let all = async |filter: &Filter| house.app.update_all(&house.caller(), filter, &ask).await;
    let (mut names, sentence) = stay(all(&of_user("ada")).await);
    names.sort_unstable();
    assert_eq!(names, ["org", "plan", "plan", "role", "role"]);
    for tag in &ask.patch.remove_tags {
        assert_eq!(sentence.matches(&format!("`{}`", tag.as_str())).count(), 1, "{sentence}");
    }
    assert!(sentence.contains("cannot go: their sections name `seat`"), "{sentence}");
    assert!(house.found(&of_tag("team:blue")).await.is_empty());
    // Where nobody carries one of them, the change is made.
    let only = Filter { tags: tags(&["only:1"]), ..of_user("ada") };
    good(house.update(plain, &change(&["only:1"], &[])).await);
    assert_eq!(good(all(&only).await).count, 1);
    // That somebody acts in the user's place stays, too.
    let acting = good(house.make(acting("ada")).await).view.session().id;
    let (names, _) = stay(house.update(acting, &change(&["org:b"], &[Actor::TAG])).await);
    assert_eq!(names, ["org", "kind"]);
}

fn acting(of: &str) -> handstamp_server::app::create::Create {
    let actor = Actor { id: user("eve"), reason: "ticket 7".into() };
    handstamp_server::app::create::Create { actor: Some(actor), ..super::house::asked(of, &[]) }
}

/// Ends those of `ada` with the tag, but for one.
async fn end(house: &House, except: Except, dry_run: bool) -> Result<u64, String> {
    let target = Target::Filter(Filter { tags: tags(&["kind:web"]), ..of_user("ada") });
    let ask = Revoke { target, except: Some(except), dry_run, reason: None };
    match house.app.revoke(&house.caller(), &ask).await {
        Ok(Revoked::Ended { count, .. }) => Ok(count),
        Ok(Revoked::Raised { .. }) => panic!("of one user"),
        Err(stop) => Err(why(&stop)),
    }
}

#[tokio::test]
async fn who_ends_all_others_of_a_kind_need_not_be_of_it() {
    let house = House::new(Arc::new(Memory::new()), Plan::idle(Span::hours(1)).roomy()).await;
    let live = async || house.found(&of_user("ada")).await.len();
    let (phone, phone_token) = house.create("ada", &["kind:phone"]).await;
    let (web, web_token) = house.create("ada", &["kind:web"]).await;
    house.create("ada", &["kind:web"]).await;
    let (gone, gone_token) = house.create("ada", &["kind:web"]).await;
    good(house.end(gone).await);
    let (foreign, foreign_token) = house.create("bob", &["kind:web"]).await;
    let somebody = good(house.make(acting("ada")).await);
    let (acts, acts_token) =
        (somebody.view.session().id.to_string(), somebody.given.token().unwrap().to_owned());
    // Before anything ends: who is not there, dead, another user's, or damaged; and who acts in the user's place.
    let mut damaged = phone_token.clone();
    damaged.replace_range(30..31, if &damaged[30..31] == "a" { "b" } else { "a" });
    for (text, refused) in [
        (gone.to_string(), "refused: except_invalid"),
        (gone_token, "refused: except_invalid"),
        (foreign.to_string(), "refused: except_invalid"),
        (foreign_token, "refused: except_invalid"),
        (damaged, "refused: except_invalid"),
        (String::new(), "refused: except_invalid"),
        (acts, "refused: impersonation_forbidden"),
        (acts_token, "refused: impersonation_forbidden"),
    ] {
        for except in [Except::OfUser(text.clone()), Except::Among(text.clone())] {
            assert_eq!(end(&house, except, false).await, Err(refused.into()), "{text}");
        }
    }
    // One of the user that is of another kind: refused, or spared anyway.
    for text in [phone.to_string(), phone_token.clone()] {
        let outside = end(&house, Except::Among(text.clone()), false).await;
        assert_eq!(outside, Err("refused: except_invalid".into()));
        assert_eq!(end(&house, Except::OfUser(text), true).await, Ok(2));
    }
    assert_eq!(live().await, 4);
    // One of that kind is spared either way.
    for except in [Except::OfUser(web_token.clone()), Except::Among(web.to_string())] {
        assert_eq!(end(&house, except, true).await, Ok(1));
    }
    assert_eq!(end(&house, Except::OfUser(web_token), false).await, Ok(1));
    assert_eq!(end(&house, Except::OfUser(phone_token), false).await, Ok(1));
    let mut left = house.found(&of_user("ada")).await;
    left.sort_unstable();
    let mut wanted = vec![phone, somebody.view.session().id];
    wanted.sort_unstable();
    assert_eq!(left, wanted);
    // No user, no session of theirs.
    let (web, _) = house.create("ada", &["kind:web"]).await;
    let filter = || Target::Filter(of_tag("kind:web"));
    let refused = house.revoke(filter(), Some(Except::OfUser(web.to_string()))).await;
    assert_eq!(refused.err().map(|stop| why(&stop)).unwrap(), "refused: except_invalid");
    assert!(house.revoke(filter(), Some(Except::Among(web.to_string()))).await.is_ok());
    assert!(house.get(web).await.ended.is_none() && house.get(foreign).await.ended.is_some());
}

#[tokio::test]
async fn the_most_that_are_judged_are_those_that_would_be_changed_or_refused() {
    let house = House::new(Arc::new(Memory::new()), Plan::idle(Span::hours(1)).roomy()).await;
    let with: Vec<Tag> = tags(&["org:acme"]);
    for n in 0..1_001 {
        let of: &[&str] = if n == 0 { &["a:1", "org:acme"] } else { &["a:1"] };
        house.create(&format!("u{n}"), of).await;
    }
    let ask = change(&["b:1"], &[with[0].as_str()]);
    let refused = house.app.update_all(&house.caller(), &of_tag("a:1"), &ask).await;
    assert_eq!(refused.err().map(|stop| why(&stop)).unwrap(), "refused: too_many_matches");
}
