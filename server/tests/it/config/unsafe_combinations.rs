//! Combinations that are unsafe, or that a browser drops without a word, are refused; others are a warning.

use super::{Said, access_key, directory, good, kept, load, problems, written};

#[test]
fn cookies() {
    for (file, wanted) in [
        (
            "name = \"__Host-s\"\ndomain = \"example.org\"",
            "__Host-, which browsers take without a domain only",
        ),
        (
            "name = \"__hOST-s\"\ndomain = \"example.org\"",
            "__Host-, which browsers take without a domain only",
        ),
        ("domain = \"example.org\"", "__Host-, which browsers take without a domain only"),
        ("secure = false", "has a prefix that browsers take with Secure only"),
        ("name = \"__Secure-s\"\nsecure = false", "has a prefix that browsers take with Secure only"),
        ("name = \"__Http-s\"\nsecure = false", "has a prefix that browsers take with Secure only"),
        ("name = \"s\"\nsecure = false\nsame_site = \"None\"", "SameSite=None with Secure only"),
        ("name = \"s\"\nsecure = false\npartitioned = true", "Partitioned with Secure only"),
        (
            "name = \"s\"\ncsrf_cookie = \"__Secure-c\"\nsecure = false",
            "has a prefix that browsers take with Secure only",
        ),
        (
            "csrf_cookie = \"__Host-c\"\ncsrf_domain = \"example.org\"",
            "__Host-, which browsers take without a domain only",
        ),
        ("csrf_cookie = \"__Http-c\"", "for cookies that scripts cannot read"),
        ("csrf_cookie = \"__Host-Http-c\"", "for cookies that scripts cannot read"),
        ("name = \"s\"\ncsrf_cookie = \"s\"", "both cookies are named `s`"),
    ] {
        let file: &'static str = kept(format!("[cookie]\n{file}"));
        let found = problems(file);
        assert!(matches!(found.as_slice(), [one] if one.contains(wanted)), "{file:?}: {found:?}");
    }
    for fine in [
        "name = \"s\"\ndomain = \"example.org\"",
        "name = \"__Secure-s\"\ndomain = \"example.org\"\ncsrf_domain = \"example.org\"",
        "same_site = \"None\"\npartitioned = true",
        "csrf_cookie = \"__Host-c\"",
        "name = \"fltr_session\"\nsecure = false",
    ] {
        good(kept(format!("[cookie]\n{fine}")));
    }
}

/// The line that is told is one that somebody wrote, and the other one is named.
#[test]
fn a_conflict_names_every_line_that_takes_part() {
    let found = problems("[cookie]\nname = \"__Host-s\"\ndomain = \"example.org\"");
    assert!(found[0].starts_with("2: cookie.name: "), "{found:?}");
    assert!(
        found[0].contains("(cookie.domain is set at ") && found[0].ends_with("handstamp.toml:3)"),
        "{found:?}"
    );
    let said = Said {
        file: Some("[cookie]\nname = \"s\"\nsame_site = \"None\""),
        environment: vec![("HANDSTAMP_COOKIE__SECURE", "false".to_owned())],
        ..Said::default()
    };
    let found = super::lines(load(&said));
    assert!(found[0].starts_with("3: cookie.same_site: "), "{found:?}");
    assert!(found[0].ends_with("(cookie.secure is set at HANDSTAMP_COOKIE__SECURE)"), "{found:?}");
}

#[test]
fn tls_needs_both_files_and_they_must_be_there() {
    let pem = written("a.pem", "x").display().to_string();
    let folder = directory().display().to_string();
    let missing = "/nowhere/a.pem";
    for (cert, key, wanted) in [
        (Some(pem.as_str()), None, "set server.tls_key too"),
        (None, Some(pem.as_str()), "set server.tls_cert too"),
        (Some(pem.as_str()), Some(missing), "`/nowhere/a.pem` cannot be read"),
        (Some(missing), Some(pem.as_str()), "`/nowhere/a.pem` cannot be read"),
        (Some(folder.as_str()), Some(pem.as_str()), "it is a directory"),
        (Some(pem.as_str()), Some(pem.as_str()), ""),
    ] {
        let mut environment = Vec::new();
        environment.extend(cert.map(|file| ("HANDSTAMP_SERVER__TLS_CERT", file.to_owned())));
        environment.extend(key.map(|file| ("HANDSTAMP_SERVER__TLS_KEY", file.to_owned())));
        let found = super::lines(load(&Said { environment, ..Said::default() }));
        assert_eq!(found.len(), usize::from(!wanted.is_empty()), "{found:?}");
        assert!(found.join("").contains(wanted), "{found:?}");
    }
}

/// Who asks the server over HTTP need not be able to read its private key.
#[test]
fn a_command_that_only_asks_needs_none_of_the_files() {
    let file = "[server]\ntls_cert = \"/nowhere/c\"\ntls_key = \"/nowhere/k\"\nmaster_key_file = \"/nowhere/m\"\n\
                [store]\nurl = \"redis://h/0\"\n";
    let sources = super::sources(&Said { file: Some(file), ..Said::default() });
    let asked = handstamp_server::config::Config::load_to_ask(&sources).ok().unwrap();
    assert!(asked.server.tls.is_some());
    assert_eq!(problems(file).len(), 4);
}

#[test]
fn two_listeners_cannot_share_an_address() {
    let found = problems("[server]\nlisten = \"127.0.0.1:7412\"");
    assert!(
        matches!(found.as_slice(), [one] if one.starts_with("2: server.listen: ") && one.contains("both say")),
        "{found:?}"
    );
    let found = problems("[metrics]\nlisten = \"127.0.0.1:7411\"");
    assert!(matches!(found.as_slice(), [one] if one.starts_with("2: metrics.listen: ")), "{found:?}");
    good("[server]\nlisten = \"127.0.0.1:0\"\n[forward_auth]\nlisten = \"127.0.0.1:0\"");
    good("[server]\nlisten = \"127.0.0.1:7412\"\n[forward_auth]\nlisten = \"off\"");
}

#[test]
fn stores_of_later_versions_are_known_and_refused() {
    for (url, wanted) in [
        ("redis://h", "Redis as a store comes in a later version"),
        ("rediss://h", "Redis as a store comes in a later version"),
        ("redis-sentinel://h", "Redis as a store comes in a later version"),
        ("redis-cluster://h:1,h:2", "Redis as a store comes in a later version"),
        ("rediss-cluster://h:1", "Redis as a store comes in a later version"),
        ("mysql://h", "unknown scheme `mysql`"),
        ("redis:h", "is not the address of a store"),
        ("handstamp.db", "is not the address of a store"),
        ("sqlite:", "names no file"),
        ("sqlite::memory:", "names no file"),
        ("sqlite:a.db?mode=ro", "names no file"),
    ] {
        let file: &'static str = kept(format!("[store]\nurl = \"{url}\""));
        let found = problems(file);
        assert!(matches!(found.as_slice(), [one] if one.contains(wanted)), "{url}: {found:?}");
    }
    for url in ["postgres://u@h/d", "postgresql://u:p@h1,h2:7/d?schema=s"] {
        let config = good(kept(format!("[store]\nurl = \"{url}\"")));
        assert!(
            config.store.url == handstamp_server::config::store::StoreUrl::Postgres(url.to_owned()),
            "{url}"
        );
    }
    for (url, path) in
        [("sqlite:a.db", "a.db"), ("sqlite:/a/b.db", "/a/b.db"), ("sqlite:///a/b.db", "/a/b.db")]
    {
        let config = good(kept(format!("[store]\nurl = \"{url}\"")));
        assert!(config.store.url == handstamp_server::config::store::StoreUrl::Sqlite(path.into()), "{url}");
    }
}

#[test]
fn what_is_allowed_and_worth_a_line() {
    for (file, wanted) in [
        (
            "[server]\nlisten = \"0.0.0.0:7411\"",
            "server.listen 0.0.0.0:7411 can be reached from other machines without TLS",
        ),
        ("[forward_auth]\nlisten = \"[::]:7412\"", "forward_auth.listen [::]:7412 can be reached"),
        ("[metrics]\nlisten = \"0.0.0.0:7413\"", "metrics.listen 0.0.0.0:7413 can be reached"),
        ("[cookie]\nname = \"s\"\nsecure = false", "cookie.secure is false"),
        ("[control]\nurl = \"postgres://h/d\"", "control.url has no effect"),
    ] {
        let warnings = good(file).warnings;
        assert!(matches!(warnings.as_slice(), [one] if one.contains(wanted)), "{file:?}: {warnings:?}");
    }
    assert!(good("[policy.default]\nidle_timeout = \"15m\"").warnings.is_empty());
    assert!(good("[session_type.a]\nexpires_in = \"15m\"").warnings.is_empty());
    let warnings = good("[server]\ntrusted_proxies = [\"0.0.0.0/0\"]").warnings;
    assert!(warnings.iter().any(|line| line.contains("trusts every address")), "{warnings:?}");
}

#[cfg(unix)]
#[test]
fn a_secret_in_a_file_that_others_can_read_is_a_warning() {
    use handstamp_server::config::{Config, ConfigFile, Environment, Flags, Sources};
    use std::os::unix::fs::PermissionsExt;
    let file = written("handstamp.toml", &format!("[bootstrap]\naccess_key = \"{}\"\n", access_key(1)));
    for (mode, lines) in [(0o644, 1), (0o640, 1), (0o600, 0)] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let file = ConfigFile::Named(file.clone());
        let config =
            Config::load(&Sources { file, environment: Environment::default(), flags: Flags::default() });
        let warnings = config.ok().unwrap().warnings;
        assert_eq!(warnings.len(), lines, "{mode:o}: {warnings:?}");
        assert!(!warnings.join("").contains("hsk_"));
    }
}

#[test]
fn the_proxy_protocol_is_for_trusted_proxies() {
    let found = problems("[server]\nproxy_protocol = true");
    assert!(
        found.len() == 1
            && found[0].starts_with("2: server.proxy_protocol: the PROXY protocol is taken from"),
        "{found:?}"
    );
    let server = good("[server]\nproxy_protocol = true\ntrusted_proxies = [\"::ffff:10.0.0.0/104\"]").server;
    assert!(server.proxy_protocol && server.trusted_proxies[0].to_string() == "10.0.0.0/8");
    let found = problems("[server]\nforwarded_header = \"x-real-ip\"");
    assert!(found[0].contains("is not one of x-forwarded-for, forwarded"), "{found:?}");
}

/// Every key of the table has its effect, and what is usual is worth no line.
#[test]
fn what_is_usual_is_no_warning() {
    let with = "[browser]\nenvironment = \"shop/prd\"\nexpose = [\"name\"]\nclear_site_data = true\n\
        fresh_login = \"off\"\nanonymous_limit = \"off\"\n[cors]\norigins = [\"https://a.example\"]\n\
        [login]\nurl = \"/in\"\nredirect_origins = [\"https://a.example\"]\n[server]\nheader_timeout = \"9s\"\ntrusted_proxies = [\"10.0.0.0/8\"]\nproxy_protocol = true\n\
        forwarded_header = \"forwarded\"\n[metrics]\nlisten = \"127.0.0.1:9\"\n[forward_auth]\nlisten = \"127.0.0.1:10\"\n[cache]\nmax_bytes = \"1MiB\"\n\
        [history]\nretention = \"9d\"\n[cookie]\nname = \"a\"\nsame_site = \"Strict\"\ndomain = \"example.org\"\n\
        partitioned = true\ncsrf_domain = \"example.org\"\ncsrf_cookie = \"C\"\ncsrf_header = \"X-C\"\n[log]\nlevel = \"debug\"\n[policy.default]\nidle_timeout = \"1h\"\nrefresh_timeout = \"60d\"\nrotation_grace = \"9s\"\naccess_token_ttl = \"9m\"\n[tokens]\nissuer = \"https://a.example\"\nalgorithm = \"ES256\"\n";
    assert_eq!(good(with).warnings, [""; 0]);
}
