//! `[privacy]`: how long addresses and user agents are kept as they are.

use super::Values;
use super::key::{Key, Section};
use super::problem::Problem;
use handstamp_core::privacy::Privacy;
use handstamp_core::time::Span;

/// An hour is how often housekeeping looks; the longest is that of every length of time.
const LEAST: u64 = 3_600_000;
const MOST: u64 = 3_660 * 86_400_000;

const fn after(name: &'static str, about: &'static str) -> Key {
    Key::new::<Option<Span>>("privacy", name, "", about).example("\"30d\"").live().range(LEAST, MOST)
}

pub(super) const SECTION: Section = Section {
    name: "privacy",
    about: "What of sessions and their history is kept for less time; what is left out is kept for the retention",
    keys: &[
        after(
            "shorten_addresses_after",
            "Then of an address only its network is kept: /24 of IPv4, /56 of IPv6",
        ),
        after("erase_addresses_after", "Then an address is erased"),
        after(
            "shorten_user_agents_after",
            "Then of each version in a user agent only its first number is kept",
        ),
        after("erase_user_agents_after", "Then a user agent is erased"),
    ],
};

/// Reads the section.
pub(super) fn read(values: &Values) -> Result<Privacy, Problem> {
    let at = values.section("privacy");
    Ok(Privacy {
        shorten_addresses_after: at.get("shorten_addresses_after")?,
        erase_addresses_after: at.get("erase_addresses_after")?,
        shorten_user_agents_after: at.get("shorten_user_agents_after")?,
        erase_user_agents_after: at.get("erase_user_agents_after")?,
    })
}

/// What is allowed, and has no effect.
pub(super) fn warnings(privacy: &Privacy) -> Vec<String> {
    let pairs = [
        ("addresses", privacy.shorten_addresses_after, privacy.erase_addresses_after),
        ("user_agents", privacy.shorten_user_agents_after, privacy.erase_user_agents_after),
    ];
    let idle = |(what, shorten, erase): (&str, Option<Span>, Option<Span>)| {
        (shorten? >= erase?).then(|| {
            format!(
                "privacy.shorten_{what}_after has no effect: privacy.erase_{what}_after comes no later and erases them"
            )
        })
    };
    pairs.into_iter().filter_map(idle).collect()
}
