//! Long random histories of commands, run through the rules and through the model (see `machine`): one chain, ended is
//! terminal, reuse always found, lateness never ends, endings by one function, counts never too low.

use crate::machine::{Machine, Token};
use crate::model::{Answer, Whom};
use crate::support::{World, full};
use handstamp_core::policy::setting::Every;
use handstamp_core::time::Span;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Command {
    Create {
        user: u8,
        refresh: bool,
        own: Option<i64>,
        tags: Vec<u8>,
    },
    /// Any token ever issued; mostly one of the newest of a session that is alive.
    Present {
        pick: usize,
        recent: bool,
        can_deliver: bool,
    },
    Authenticate(usize),
    Patch {
        login: usize,
        add: Option<u8>,
        remove: Option<u8>,
        extend: bool,
    },
    End(usize),
    Raise(u8, Vec<u8>),
    Tick(i64),
    /// To an instant at which something changes, and a millisecond to either side.
    Edge {
        login: usize,
        which: u8,
        generation: usize,
        by: i64,
    },
    Policy {
        absolute: i64,
        idle: i64,
        refresh: i64,
        every: Option<i64>,
        grace: i64,
    },
    Settle(usize),
    Garbage {
        pick: usize,
        at: usize,
        to: u8,
    },
}

fn command() -> impl Strategy<Value = Command> {
    let any_pick = 0usize..1_000;
    let seconds = |values: &'static [i64]| prop::sample::select(values).prop_map(|s| s * 1_000);
    let own = prop::option::weighted(0.2, seconds(&[1, 100, 10_000]));
    let tags = prop::collection::vec(0u8..3, 0..3);
    prop_oneof![
        3 => (0u8..3, any::<bool>(), own, tags.clone())
            .prop_map(|(user, refresh, own, tags)| Command::Create { user, refresh, own, tags }),
        30 => (any_pick.clone(), prop::bool::weighted(0.7), prop::bool::weighted(0.8))
            .prop_map(|(pick, recent, can_deliver)| Command::Present { pick, recent, can_deliver }),
        2 => any_pick.clone().prop_map(Command::Authenticate),
        2 => (any_pick.clone(), prop::option::of(0u8..3), prop::option::of(0u8..3), any::<bool>())
            .prop_map(|(login, add, remove, extend)| Command::Patch { login, add, remove, extend }),
        1 => any_pick.clone().prop_map(Command::End),
        1 => (0u8..9, prop::collection::vec(0u8..3, 1..3)).prop_map(|(who, tags)| Command::Raise(who, tags)),
        10 => prop_oneof![Just(0i64), Just(1), 1i64..1_000, 1_000i64..70_000, 70_000i64..400_000]
            .prop_map(Command::Tick),
        8 => (any_pick.clone(), 0u8..4, 0usize..40, -1i64..2)
            .prop_map(|(login, which, generation, by)| Command::Edge { login, which, generation, by }),
        1 => (
            seconds(&[1, 3_600, 9_000, 90_000]),
            seconds(&[1, 600, 6_000, 6_001]),
            seconds(&[1, 7_200, 90_000]),
            prop::option::weighted(0.8, seconds(&[1, 30, 300])),
            seconds(&[0, 1, 60, 120]),
        )
            .prop_map(|(absolute, idle, refresh, every, grace)| Command::Policy { absolute, idle, refresh, every, grace }),
        2 => any_pick.clone().prop_map(Command::Settle),
        1 => (any_pick, 0usize..110, any::<u8>()).prop_map(|(pick, at, to)| Command::Garbage { pick, at, to }),
    ]
}

fn run(m: &mut Machine, command: Command) {
    let logins = m.held.len();
    match command {
        Command::Create { user, refresh, own, tags } => {
            m.create(user, refresh, own, &tags);
        }
        Command::Present { pick, recent, can_deliver } => {
            let alive = |token: &&Token| !recent || m.model.over(token.login).is_none();
            let mut known: Vec<&Token> = m.tokens.iter().filter(alive).collect();
            if recent {
                known.reverse();
                known.truncate(6);
            }
            if !known.is_empty() {
                let token = known[pick % known.len()].clone();
                m.present(&token, can_deliver);
            }
        }
        Command::Authenticate(n) => m.authenticate(n % logins),
        Command::Patch { login, add, remove, extend } => m.patch(login % logins, add, remove, extend),
        Command::End(n) => m.end(n % logins),
        Command::Raise(who, tags) => m.raise(match who {
            0 => Whom::All,
            1 => Whom::User(0),
            2 => Whom::User(2),
            _ => Whom::Tags(tags),
        }),
        Command::Tick(by) => m.go_to(m.model.now + by),
        Command::Edge { login, which, generation, by } => {
            let n = login % logins;
            let (absolute, idle) = m.model.ends(n);
            let edge = match which {
                0 => Some(absolute),
                1 => Some(idle),
                2 => m.model.rules.every.map(|every| m.model.made_at(n) + every),
                _ => {
                    let k = generation % (m.model.newest(n) + 1);
                    m.model.later_presented(n, k).map(|first| first + m.model.rules.grace)
                }
            };
            if let Some(edge) = edge {
                m.go_to(edge + by);
            }
        }
        Command::Policy { absolute, idle, refresh, every, grace } => {
            m.world.policy = m.world.policy.with(|rules| {
                rules.absolute_timeout = Some(Span(absolute));
                rules.idle_timeout = Some(Span(idle));
                rules.refresh_timeout = Some(Span(refresh));
                rules.rotate_every = Some(Every(every.map(Span)));
                rules.rotation_grace = Some(Span(grace));
            });
            assert_eq!(m.world.policy.check(), []);
            m.follow_policy();
        }
        Command::Settle(n) => m.settle(n % logins),
        Command::Garbage { pick, at, to } => {
            let token = m.tokens[pick % m.tokens.len()].clone();
            m.garbage(&token, at, to);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if full() { 20_000 } else { 256 }, ..ProptestConfig::default() })]

    #[test]
    fn every_history_is_told_as_the_design_tells_it(
        refresh: bool,
        commands in prop::collection::vec(command(), 1..120),
    ) {
        let mut world = World::new();
        world.policy = world.policy.with(|rules| rules.idle_timeout = Some(Span::hours(1)));
        world.policy = world.policy.with(|rules| rules.absolute_timeout = Some(Span::hours(9)));
        world.policy = world.policy.with(|rules| rules.refresh_timeout = Some(Span::hours(9)));
        let mut m = Machine::new(world);
        m.create(0, refresh, None, &[0]);
        for command in commands {
            run(&mut m, command);
            m.check();
        }
        // every token ever issued, at the end: none of an ended login passes, and nothing comes back
        let ended: Vec<bool> = (0..m.held.len()).map(|n| m.model.over(n).is_some()).collect();
        for token in m.tokens.clone() {
            let answer = m.present(&token, true);
            if ended[token.login] {
                prop_assert!(matches!(answer, Answer::Refused(_)));
            }
        }
        m.finish();
    }
}
