//! Every history of up to six steps, not a sample: each step of {create, present the newest, the one before, an older
//! one, rotate and lose the answer, refresh or authenticate, end, move the clock to the next instant at which anything
//! changes or to the millisecond before it}, run through the rules and through the model.

use crate::machine::{Machine, Token};
use crate::model::Answer;
use crate::support::World;
use handstamp_core::policy::setting::Every;
use handstamp_core::time::Span;
use handstamp_core::token::Kind;

#[derive(Clone, Copy)]
enum Step {
    Create,
    PresentNewest,
    PresentPrevious,
    PresentOlder,
    RotateAndLose,
    Renew,
    End,
    Tick,
}
const STEPS: [Step; 8] = [
    Step::Create,
    Step::PresentNewest,
    Step::PresentPrevious,
    Step::PresentOlder,
    Step::RotateAndLose,
    Step::Renew,
    Step::End,
    Step::Tick,
];

fn token(m: &Machine, kind: Kind, generation: usize) -> Token {
    let last = m.held.len() - 1;
    let found = m.tokens.iter().find(|t| t.login == last && t.kind == kind && t.generation == generation);
    found.unwrap().clone()
}

/// The next instant at which an answer may change, or the millisecond before it.
fn next_edge(m: &Machine) -> Option<i64> {
    let mut edges = Vec::new();
    for n in 0..m.held.len() {
        let (absolute, idle) = m.model.ends(n);
        edges.extend([absolute, idle]);
        edges.extend(m.model.rules.every.map(|every| m.model.made_at(n) + every));
        for k in 0..m.model.newest(n) {
            edges.extend(m.model.later_presented(n, k).map(|first| first + m.model.rules.grace));
        }
    }
    edges.into_iter().flat_map(|edge| [edge - 1, edge]).filter(|at| *at > m.model.now).min()
}

/// Whether the step means anything here; what means nothing leads to no new world.
fn take(m: &mut Machine, step: Step) -> bool {
    let n = m.held.len() - 1;
    let newest = m.model.newest(n);
    let refresh = m.model.logins[n].refresh;
    match step {
        Step::Create if m.held.len() < 2 => {
            m.create(0, refresh, None, &[]);
        }
        Step::PresentNewest => {
            let token = token(m, Kind::Session, newest);
            m.present(&token, false);
        }
        Step::PresentPrevious if newest >= 1 => {
            // both kinds, one after the other: what the first brings about, the second meets
            let token_before = token(m, Kind::Session, newest - 1);
            m.present(&token_before, true);
            if refresh {
                let token_before = token(m, Kind::Refresh, newest - 1);
                m.present(&token_before, true);
            }
        }
        Step::PresentOlder if newest >= 2 => {
            let older = token(m, if refresh { Kind::Refresh } else { Kind::Session }, newest - 2);
            let answer = m.present(&older, true);
            assert!(matches!(answer, Answer::Refused(_)), "two behind is never allowed");
        }
        Step::RotateAndLose if !refresh => {
            let token = token(m, Kind::Session, newest);
            m.present(&token, true);
        }
        Step::Renew if refresh => {
            let token = token(m, Kind::Refresh, newest);
            m.present(&token, true);
        }
        Step::Renew => m.authenticate(n),
        Step::RotateAndLose => m.authenticate(n),
        Step::End => m.end(n),
        Step::Tick => match next_edge(m) {
            Some(at) => m.go_to(at),
            None => return false,
        },
        Step::Create | Step::PresentPrevious | Step::PresentOlder => return false,
    }
    true
}

fn explore(m: &Machine, depth: usize, worlds: &mut u64, thefts: &mut u64) {
    for step in STEPS {
        let mut next = m.clone();
        if take(&mut next, step) {
            *worlds += 1;
            *thefts += u64::from(next.thefts() > m.thefts());
            next.check();
            if depth > 1 {
                explore(&next, depth - 1, worlds, thefts);
            }
        }
    }
}

/// All worlds that can be reached from here in six steps, and in how many of them a theft was found.
fn explore_all(m: &Machine) -> (u64, u64) {
    let (mut worlds, mut thefts) = (0, 0);
    explore(m, 6, &mut worlds, &mut thefts);
    (worlds, thefts)
}

fn start(refresh: bool, every: Span, grace: Span) -> Machine {
    let mut world = World::new();
    world.policy = world.policy.with(|rules| rules.rotate_every = Some(Every(Some(every))));
    world.policy = world.policy.with(|rules| rules.rotation_grace = Some(grace));
    let mut m = Machine::new(world);
    m.create(0, refresh, None, &[]);
    m
}

#[test]
fn every_small_world_of_a_new_session() {
    for refresh in [false, true] {
        let (worlds, _) = explore_all(&start(refresh, Span::secs(1), Span::secs(1)));

        assert!(worlds > 40_000, "{worlds}");
    }
}

#[test]
fn every_small_world_of_a_session_just_rotated_by_time_by_refresh_or_by_authentication() {
    for refresh in [false, true] {
        let mut m = start(refresh, Span::minutes(5), Span::minutes(1));
        m.go_to(m.model.now + Span::minutes(5).0);
        let kind = if refresh { Kind::Refresh } else { Kind::Session };
        let first = token(&m, kind, 0);
        assert_eq!(m.present(&first, true), Answer::Allowed(Some(1)));
        let (worlds, thefts) = explore_all(&m);

        assert!(worlds > 40_000 && thefts > 200, "{worlds} {thefts}");
    }
    let mut m = start(true, Span::minutes(5), Span::minutes(1));
    m.authenticate(0);
    let (worlds, thefts) = explore_all(&m);
    assert!(worlds > 40_000 && thefts > 200, "{worlds} {thefts}");
}
