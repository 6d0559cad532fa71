//! What a person sees first: the address, the key (once), and a line that works as pasted.

use crate::config::Config;
use handstamp_core::secret::PlainToken;
use std::io::Write;
use std::net::SocketAddr;

/// The line that scripts wait for, and, on the first start, everything a person needs.
pub fn print(config: &Config, address: SocketAddr, first: Option<&PlainToken>) {
    let scheme = if config.server.tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{address}");
    let mut text = String::new();
    if let Some(key) = first {
        let key = key.reveal();
        let file = config.server.access_key_file();
        let insecure = if config.server.tls.is_some() { " -k" } else { "" };
        let kept = if config.bootstrap.access_key.is_some() {
            "(the one you gave)".to_owned()
        } else {
            format!("(shown once; also in {}, readable by you only)", file.display())
        };
        text = format!(
            "\n  Handstamp is ready.\n\n    address     {url}\n    data        {data}\n    access key  {key}\n                {kept}\n\n  \
             Somebody has just logged in. Stamp the hand:\n\n    \
             curl -sS{insecure} {url}/v1/sessions -H 'Authorization: Bearer {key}' \\\n      \
             -H 'Content-Type: application/json' -d '{{\"user_id\": \"ada\", \"tags\": [\"role:admin\"]}}'\n\n  \
             The answer has a token. Check it at every door:\n\n    \
             curl -sS{insecure} {url}/v1/sessions/validate -H 'Authorization: Bearer {key}' \\\n      \
             -H 'Content-Type: application/json' -d '{{\"token\": \"hst_...\"}}'\n\n  \
             All calls: {url}/docs   Stop: Ctrl-C\n\n",
            data = config.server.data_dir.display(),
        );
    }
    text.push_str(&format!("listening on {url}\n"));
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
