//! What is said when the server is ready: to a person the address, the first access key (once) and a line that works as
//! pasted; to a machine one object with the same.
//!
//! A key that was given is known to who gave it, and the output may be a log that others read: it is not repeated.

use super::store::Place;
use crate::config::{Config, Environment, Origin};
use handstamp_core::secret::PlainToken;
use serde_json::json;
use std::io::Write;
use std::net::SocketAddr;

/// Where the listeners are.
#[derive(Clone, Copy)]
pub struct Addresses {
    /// Of the API.
    pub main: SocketAddr,
    /// Of proxies that ask for verdicts, where there is one.
    pub forward_auth: Option<SocketAddr>,
}

/// The line that scripts wait for, and, on the first start, everything a person needs. With `json` one object instead.
pub fn print(
    config: &Config,
    environment: &Environment,
    addresses: Addresses,
    first: Option<&PlainToken>,
    json: bool,
) {
    let given = given(config, environment);
    let scheme = if config.server.tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{}", addresses.main);
    let forward_auth = addresses.forward_auth.map(|address| format!("http://{address}"));
    let text = if json {
        let mut said = object(config, &url, first, given);
        said["forward_auth"] = json!(forward_auth);
        format!("{said}\n")
    } else {
        let page = first.map(|key| page(config, &url, key, given)).unwrap_or_default();
        // Last comes the line after which everything is said.
        let proxies = forward_auth.map(|url| format!("forward-auth on {url}\n")).unwrap_or_default();
        format!("{page}{proxies}listening on {url}\n")
    };
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// One line, so that a machine knows when it has all of it.
fn object(config: &Config, url: &str, first: Option<&PlainToken>, given: Option<Given>) -> serde_json::Value {
    let mut said = json!({
        "address": url,
        "data_dir": config.server.data_dir.display().to_string(),
        "store": store(config),
        "access_key_file": config.server.access_key_file().display().to_string(),
    });
    match (first, given) {
        (None, _) => {}
        (Some(key), None) => said["access_key"] = json!(key.reveal()),
        (Some(_), Some(given)) => {
            said["access_key_file"] = given.file.map_or(serde_json::Value::Null, |file| json!(file));
            said["access_key_from"] = json!(given.from);
        }
    }
    said
}

fn page(config: &Config, url: &str, key: &PlainToken, given: Option<Given>) -> String {
    let insecure = if config.server.tls.is_some() { " -k" } else { "" };
    let (shown, kept, header) = match given {
        None => {
            let file = config.server.access_key_file();
            let kept = format!("(shown once; also in {}, readable by you only)", file.display());
            (key.reveal().to_owned(), kept, format!("'Authorization: Bearer {}'", key.reveal()))
        }
        Some(given) => {
            let header = format!("\"Authorization: Bearer {}\"", given.shell);
            (format!("the one of {}", given.from), given.note, header)
        }
    };
    format!(
        "\n  Handstamp is ready.\n\n    address     {url}\n    data        {data}\n{store}    access key  {shown}\n                {kept}\n\n  \
         Somebody has just logged in. Stamp the hand:\n\n    \
         curl -sS{insecure} {url}/v1/sessions -H {header} \\\n      \
         -H 'Content-Type: application/json' -d '{{\"user_id\": \"ada\", \"tags\": [\"role:admin\"]}}'\n\n  \
         The answer has a token. Check it at every door:\n\n    \
         curl -sS{insecure} {url}/v1/sessions/validate -H {header} \\\n      \
         -H 'Content-Type: application/json' -d '{{\"token\": \"hst_...\"}}'\n\n  \
         All calls: {url}/docs   Stop: Ctrl-C\n\n",
        data = config.server.data_dir.display(),
        store = match Place::of(config) {
            Ok(Place::Postgres(_)) => format!("    store       {}\n", store(config)),
            Ok(Place::File(_)) | Err(_) => String::new(),
        },
    )
}

/// Where records are kept; no password.
fn store(config: &Config) -> String {
    Place::of(config).map(|place| place.name()).unwrap_or_default()
}

/// Where a key that was given came from.
struct Given {
    /// In words.
    from: String,
    /// The file that holds it and nothing else.
    file: Option<String>,
    /// What a shell puts in its place.
    shell: String,
    /// What there is to know to use that.
    note: String,
}

fn given(config: &Config, environment: &Environment) -> Option<Given> {
    config.bootstrap.access_key.as_ref()?;
    let said = config.entries.iter().find(|entry| entry.path == "bootstrap.access_key")?;
    let Origin::Environment(name) = &said.origin else {
        return Some(Given {
            from: said.origin.to_string(),
            file: None,
            shell: "$KEY".to_owned(),
            note: "(yours, so it is not shown; for the lines below put it into the shell's variable KEY)"
                .to_owned(),
        });
    };
    let file = environment.get(name).filter(|_| name.ends_with("_FILE"));
    Some(match file {
        Some(file) => Given {
            from: format!("{file}, which {name} names"),
            file: Some(file.to_owned()),
            shell: format!("$(cat {})", quoted(file)),
            note: "(yours, so it is not shown; the lines below read it from the file)".to_owned(),
        },
        None => Given {
            from: name.clone(),
            file: None,
            shell: format!("${name}"),
            note: "(yours, so it is not shown; the lines below take it from that variable of the shell)"
                .to_owned(),
        },
    })
}

/// As one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
