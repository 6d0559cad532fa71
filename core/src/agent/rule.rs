//! What a policy makes of another user agent (`user_agent = "ignore" | "log" | "refuse" | "end"`).
//!
//! A user agent is a claim that anybody can repeat: that it is the same proves nothing. That a browser became another one
//! cannot happen by itself, though, and who copies a cookie often forgets it.

use super::Agent;
use super::change::{Change, change};
use crate::policy::modes::OnAgent;
use crate::policy::{Origin, Sourced};
use crate::refusal::{Code, Evidence, Refusal, Value};

/// The rule's name.
pub const RULE: &str = "user_agent";

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It may pass.
    Allowed,
    /// It may pass, and history says what was seen.
    Log(Finding),
    /// It may not pass; the session stays.
    Refuse(Refusal),
    /// It may not pass, and the session ends.
    End(Refusal),
}

/// What was seen that did not keep anybody out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What became of the agent.
    pub change: Change,
    /// Where the rule's value came from.
    pub origin: Origin,
    /// Both agents, in words.
    pub evidence: Evidence,
}

/// Judges the agent of a request by the one of the session's creation. Where one of them is missing, nothing is judged.
///
/// A newer version is no news; an older one is logged at most; and so is all that has to do with an agent that is no
/// browser's: a server that forwards its own must not log its users out.
pub fn judge(mode: &Sourced<OnAgent>, before: Option<Agent<&str>>, after: Option<Agent<&str>>) -> Outcome {
    let (Some(before), Some(after)) = (before, after) else { return Outcome::Allowed };
    let change = change(&before, &after);
    let most = match change {
        Change::None if before.is_browser == after.is_browser => OnAgent::Ignore,
        Change::Upgrade => OnAgent::Ignore,
        Change::None | Change::Downgrade => OnAgent::Log,
        Change::OtherBrowser | Change::OtherOs | Change::OtherDeviceClass => {
            if before.is_browser && after.is_browser { OnAgent::End } else { OnAgent::Log }
        }
    };
    let evidence = || Evidence::Change { before: words(before), after: words(after) };
    let refusal = || Refusal {
        code: Code::UserAgentChanged,
        rule: RULE,
        origin: Some(mode.origin.clone()),
        evidence: Some(evidence()),
    };
    match mode.value.min(most) {
        OnAgent::Ignore => Outcome::Allowed,
        OnAgent::Log => Outcome::Log(Finding { change, origin: mode.origin.clone(), evidence: evidence() }),
        OnAgent::Refuse => Outcome::Refuse(refusal()),
        OnAgent::End => Outcome::End(refusal()),
    }
}

fn words(agent: Agent<&str>) -> Value {
    Value::Text(format!("{} ({})", agent.display_name(), agent.device).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Device;

    const FIREFOX: Agent<&str> = Agent {
        browser: Some("Firefox"),
        major: Some(128),
        os: Some("Windows"),
        os_version: None,
        model: None,
        device: Device::Desktop,
        is_browser: true,
    };

    fn outcome(mode: OnAgent, before: Agent<&str>, after: Agent<&str>) -> Outcome {
        judge(&Sourced { value: mode, origin: Origin::Default }, Some(before), Some(after))
    }

    fn strength(outcome: &Outcome) -> OnAgent {
        match outcome {
            Outcome::Allowed => OnAgent::Ignore,
            Outcome::Log(_) => OnAgent::Log,
            Outcome::Refuse(_) => OnAgent::Refuse,
            Outcome::End(_) => OnAgent::End,
        }
    }

    #[test]
    fn every_mode_of_every_change() {
        let server =
            Agent { browser: Some("okhttp"), os: None, device: Device::Other, is_browser: false, ..FIREFOX };
        let robot = Agent { is_browser: false, ..FIREFOX };
        for (after, most) in [
            (FIREFOX, OnAgent::Ignore),
            (Agent { major: Some(129), ..FIREFOX }, OnAgent::Ignore),
            (Agent { major: Some(127), ..FIREFOX }, OnAgent::Log),
            (Agent { browser: Some("Chrome"), ..FIREFOX }, OnAgent::End),
            (Agent { os: Some("Mac OS X"), ..FIREFOX }, OnAgent::End),
            (Agent { device: Device::Tv, ..FIREFOX }, OnAgent::End),
            (server, OnAgent::Log),
            (robot, OnAgent::Log),
        ] {
            for mode in OnAgent::ALL {
                let expected = (*mode).min(most);
                assert_eq!(strength(&outcome(*mode, FIREFOX, after)), expected, "{mode} {after:?}");
                assert!(strength(&outcome(*mode, after, FIREFOX)) <= OnAgent::Log || after.is_browser);
            }
        }
        let older = Agent { major: Some(7), ..server };
        assert_eq!(outcome(OnAgent::End, server, older), outcome(OnAgent::Log, server, older));
        assert_eq!(outcome(OnAgent::End, server, server), Outcome::Allowed);
    }

    #[test]
    fn where_one_is_missing_nothing_is_judged() {
        let end = Sourced { value: OnAgent::End, origin: Origin::Default };
        let other = Agent { os: Some("iOS"), ..FIREFOX };
        assert_eq!(judge(&end, None, Some(other)), Outcome::Allowed);
        assert_eq!(judge(&end, Some(other), None), Outcome::Allowed);
        assert_eq!(judge(&end, None, None), Outcome::Allowed);
    }

    #[test]
    fn the_refusal_says_both_in_words() {
        let mac = Agent { os: Some("Mac OS X"), major: Some(127), ..FIREFOX };
        let Outcome::End(refusal) = outcome(OnAgent::End, FIREFOX, mac) else { panic!("ends") };
        assert_eq!(refusal.code, Code::UserAgentChanged);
        assert_eq!(
            refusal.detail(),
            "user_agent changed from Firefox 128 on Windows (desktop) to Firefox 127 on macOS (desktop) by default"
        );
        let Outcome::Log(finding) = outcome(OnAgent::Log, FIREFOX, mac) else { panic!("is logged") };
        assert_eq!((finding.change, Some(finding.evidence)), (Change::OtherOs, refusal.evidence));
    }
}
