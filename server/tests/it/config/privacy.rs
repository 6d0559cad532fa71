//! `[privacy]`: empty is never, the file and the environment say it, a reload changes it, and what has no effect is said.

use super::{Said, load, written};
use handstamp_core::privacy::Privacy;
use handstamp_core::time::Span;
use handstamp_server::config::reload::reload;
use handstamp_server::config::{Config, ConfigFile, Environment, Flags, Sources};

fn file(text: &'static str) -> Said {
    Said { file: Some(text), ..Said::default() }
}

#[test]
fn what_is_said_stands_and_the_rest_is_never() {
    assert_eq!(load(&Said::default()).ok().unwrap().privacy, Privacy::default());
    let said = file("[privacy]\nshorten_addresses_after = \"7d\"\nerase_user_agents_after = \"\"\n");
    let environment = vec![("HANDSTAMP_PRIVACY__ERASE_ADDRESSES_AFTER", "90d".to_owned())];
    let config = load(&Said { environment, ..said }).ok().unwrap();
    assert_eq!(
        config.privacy,
        Privacy {
            shorten_addresses_after: Some(Span::days(7)),
            erase_addresses_after: Some(Span::days(90)),
            ..Privacy::default()
        }
    );
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn what_is_wrong_and_what_has_no_effect_is_said() {
    for (text, said) in [
        ("[privacy]\nerase_addresses_after = \"59m\"\n", "out of range"),
        ("[privacy]\nerase_addresses_after = \"3661d\"\n", "out of range"),
        ("[privacy]\nerase_addresses_after = 7\n", "in quotes"),
        ("[privacy]\nerase_adresses_after = \"7d\"\n", "privacy.erase_addresses_after"),
    ] {
        let problems = load(&file(text)).err().unwrap().to_string();
        assert!(problems.contains(said), "{text}: {problems}");
    }
    for (shorten, idle) in [("6d", false), ("7d", true), ("8d", true)] {
        let text = format!(
            "[privacy]\nshorten_user_agents_after = \"{shorten}\"\nerase_user_agents_after = \"7d\"\n"
        );
        let file = written("handstamp.toml", &text);
        let sources = Sources {
            file: ConfigFile::Named(file),
            environment: Environment::default(),
            flags: Flags::default(),
        };
        let warnings = Config::load(&sources).ok().unwrap().warnings;
        let said = warnings.iter().any(|line| line.contains("shorten_user_agents_after has no effect"));
        assert_eq!(said, idle, "{shorten}: {warnings:?}");
    }
}

#[test]
fn it_changes_without_a_restart() {
    let file = written("handstamp.toml", "[privacy]\nshorten_addresses_after = \"7d\"\n");
    let sources = Sources {
        file: ConfigFile::Named(file.clone()),
        environment: Environment::default(),
        flags: Flags::default(),
    };
    let running = Config::load(&sources).ok().unwrap();
    std::fs::write(&file, "[privacy]\nerase_addresses_after = \"1d\"\n").unwrap();
    let done = reload(&running, &sources).ok().unwrap();
    assert!(done.restart.is_empty());
    assert_eq!(done.changed.len(), 2);
    let wanted = Privacy { erase_addresses_after: Some(Span::days(1)), ..Privacy::default() };
    assert_eq!(done.config.privacy, wanted);
}
