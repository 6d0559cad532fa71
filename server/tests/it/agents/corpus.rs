//! The uap-core project's own cases, as the crate `ua-parser` brings them with it. Whoever builds the tests has that crate; a
//! file that is missing from it is a failure.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// One case: a text, and what is expected of it.
#[derive(Default, Debug)]
pub(super) struct Case {
    pub(super) text: String,
    pub(super) family: String,
    pub(super) major: Option<String>,
    pub(super) minor: Option<String>,
}

/// Where the project's files lie.
pub(super) fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        // Of this machine alone: packages for other systems were perhaps never fetched.
        let said = Command::new(env!("CARGO"))
            .args([
                "metadata",
                "--locked",
                "--offline",
                "--format-version",
                "1",
                "--filter-platform",
                "host-tuple",
            ])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        let said: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
        let package =
            said["packages"].as_array().unwrap().iter().find(|package| package["name"] == "ua-parser");
        let manifest =
            package.expect("the crate ua-parser is not built in")["manifest_path"].as_str().unwrap();
        Path::new(manifest).parent().unwrap().join("uap-core")
    })
}

pub(super) fn file(path: &str) -> String {
    std::fs::read_to_string(folder().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The cases of a file.
pub(super) fn cases(path: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in file(path).lines() {
        let line = line.trim_start();
        let Some((name, value)) = line.split_once(':').filter(|_| !line.starts_with('#')) else { continue };
        let value = Some(unquoted(value.trim())).filter(|value| !value.is_empty());
        if name == "- user_agent_string" {
            cases.push(Case { text: value.clone().unwrap_or_default(), ..Case::default() });
        }
        let Some(case) = cases.last_mut() else { continue };
        match name {
            "family" => case.family = value.unwrap_or_default(),
            "major" => case.major = value,
            "minor" => case.minor = value,
            _ => {}
        }
    }
    cases
}

/// Every text of every file.
pub(super) fn texts() -> Vec<String> {
    let files = [
        "tests/test_ua.yaml",
        "tests/test_os.yaml",
        "tests/test_device.yaml",
        "test_resources/pgts_browser_list.yaml",
        "test_resources/firefox_user_agent_strings.yaml",
        "test_resources/opera_mini_user_agent_strings.yaml",
        "test_resources/podcasting_user_agent_strings.yaml",
        "test_resources/additional_os_tests.yaml",
    ];
    files.iter().flat_map(|path| cases(path)).map(|case| case.text).collect()
}

fn unquoted(value: &str) -> String {
    let quoted = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    match (quoted('\''), quoted('"')) {
        (Some(inside), _) => inside.replace("''", "'"),
        (_, Some(inside)) => inside.replace("\\\"", "\"").replace("\\\\", "\\"),
        _ => value.to_owned(),
    }
}
