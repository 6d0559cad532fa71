//! What is read of a text is what the uap-core project says of it.

use super::corpus::{self, Case};
use handstamp_core::agent::{Device, believed, bounded};
use handstamp_server::agents::{Agents, cut};
use ua_parser::{os, user_agent};

/// What our copy is a copy of.
#[test]
fn the_data_is_what_it_says_it_is() {
    let whole = corpus::file("regexes.yaml");
    let (ours, _) = whole.split_once("device_parsers:").unwrap();
    let copy = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("data/uap-core.yaml");
    assert!(std::fs::read_to_string(copy).unwrap() == ours, "copy it again; see server/data/README.md");
}

#[test]
fn browsers_of_the_projects_cases() {
    let agents = Agents::default();
    let cases = corpus::cases("tests/test_ua.yaml");
    assert!(cases.len() > 1_400, "{}", cases.len());
    let wrong: Vec<&Case> = cases
        .iter()
        .filter(|case| {
            let agent = agents.parse(&case.text);
            let family = bounded(&case.family).filter(|family| *family != "Other");
            let major = case.major.as_deref().and_then(|major| major.parse().ok());
            agent.browser.as_deref() != family || agent.major != major
        })
        .collect();
    println!("{} of {} browsers agree", cases.len() - wrong.len(), cases.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn systems_of_the_projects_cases() {
    let agents = Agents::default();
    let cases = corpus::cases("tests/test_os.yaml");
    assert!(cases.len() > 460, "{}", cases.len());
    let wrong: Vec<&Case> = cases
        .iter()
        .filter(|case| {
            let agent = agents.parse(&case.text);
            let family = bounded(&case.family).filter(|family| *family != "Other");
            let version = match (case.major.as_deref(), case.minor.as_deref()) {
                (Some(major), None | Some("0")) => Some(major.to_owned()),
                (Some(major), Some(minor)) => Some(format!("{major}.{minor}")),
                (None, _) => None,
            };
            let version = version.as_deref().zip(family).and_then(|(version, os)| believed(os, version));
            agent.os.as_deref() != family || agent.os_version.as_deref() != version
        })
        .collect();
    println!("{} of {} systems agree", cases.len() - wrong.len(), cases.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// One rule of the crate for each of the file: the same patterns, read by another engine.
struct Crate {
    browsers: user_agent::Extractor<'static>,
    systems: os::Extractor<'static>,
}

impl Crate {
    fn new() -> Crate {
        let (mut browsers, mut systems) = (Vec::new(), Vec::new());
        let whole = corpus::file("regexes.yaml");
        let (first, rest) = whole.split_once("\nos_parsers:").unwrap();
        let (second, _) = rest.split_once("\ndevice_parsers:").unwrap();
        for (section, list) in [(first, &mut browsers), (second, &mut systems)] {
            for line in section.lines().map(str::trim_start).filter(|line| !line.starts_with('#')) {
                let Some((name, value)) = line.trim_start_matches("- ").split_once(':') else { continue };
                let Some(value) = value.trim().strip_prefix('\'').and_then(|v| v.strip_suffix('\'')) else {
                    continue;
                };
                if name == "regex" {
                    list.push([String::new(), String::new(), String::new(), String::new()]);
                }
                let place = match name {
                    "regex" => 0,
                    "family_replacement" | "os_replacement" => 1,
                    "v1_replacement" | "os_v1_replacement" => 2,
                    "v2_replacement" | "os_v2_replacement" => 3,
                    _ => continue,
                };
                list.last_mut().unwrap()[place] = value.to_owned();
            }
        }
        let given = |text: String| Some(text).filter(|text| !text.is_empty()).map(Into::into);
        let browsers = browsers.into_iter().map(|[regex, family, v1, v2]| user_agent::Parser {
            regex: regex.into(),
            family_replacement: given(family),
            v1_replacement: given(v1),
            v2_replacement: given(v2),
            ..user_agent::Parser::default()
        });
        let systems = systems.into_iter().map(|[regex, family, v1, v2]| os::Parser {
            regex: regex.into(),
            os_replacement: given(family),
            os_v1_replacement: given(v1),
            os_v2_replacement: given(v2),
            ..os::Parser::default()
        });
        Crate {
            browsers: user_agent::Builder::new().push_all(browsers).unwrap().build().unwrap(),
            systems: os::Builder::new().push_all(systems).unwrap().build().unwrap(),
        }
    }
}

#[test]
fn every_known_text_reads_as_the_crate_reads_it() {
    let (oracle, agents) = (Crate::new(), Agents::default());
    let texts = corpus::texts();
    assert!(texts.len() > 30_000, "{}", texts.len());
    let (mut different, mut browsers, mut systems) = (Vec::new(), 0, 0);
    for text in &texts {
        let ours = agents.parse(text);
        let browser = oracle.browsers.extract(cut(text));
        let system = oracle.systems.extract(cut(text)).filter(|system| system.os != "Other");
        browsers += usize::from(browser.is_some());
        systems += usize::from(system.is_some());
        let family = browser.as_ref().and_then(|browser| bounded(&browser.family));
        let major = browser.as_ref().and_then(|browser| browser.major?.parse::<u32>().ok());
        let os = system.as_ref().and_then(|system| bounded(&system.os));
        if (ours.browser.as_deref(), ours.major, ours.os.as_deref()) != (family, major, os) {
            different.push(format!("{text}\n  ours   {ours:?}\n  theirs {family:?} {major:?} {os:?}"));
        }
    }
    println!(
        "{} texts, {browsers} browsers, {systems} systems, {} read differently",
        texts.len(),
        different.len()
    );
    assert!(different.is_empty(), "{}", different.join("\n"));
}

/// The project has rules for robots among those for devices, which we leave out: our few words find nearly all of them,
/// and take hardly a person for one.
#[test]
fn robots_are_found_without_the_projects_list() {
    let agents = Agents::default();
    let cases = corpus::cases("tests/test_device.yaml");
    let (mut robots, mut found, mut people, mut mistaken) = (0, 0, 0, Vec::new());
    for case in &cases {
        let robot = agents.parse(&case.text).device == Device::Bot;
        if case.family == "Spider" {
            robots += 1;
            found += usize::from(robot);
        } else if case.text.starts_with("Mozilla/") {
            people += 1;
            if robot {
                mistaken.push(&case.text);
            }
        }
    }
    println!(
        "{found} of {robots} robots found; {} of {people} others taken for one: {mistaken:#?}",
        mistaken.len()
    );
    assert!(robots >= 60 && found * 100 >= robots * 85, "{found} of {robots}");
    assert!(people > 9_000 && mistaken.len() * 1_000 <= people, "{mistaken:#?}");
}
