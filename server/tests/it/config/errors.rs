//! Each error names file, line, key, what is wrong and what would be right; all of them come at once.

use super::{Said, lines, load, problems};
use handstamp_server::config::Flags;

fn environment(pairs: &[(&'static str, &str)]) -> Vec<String> {
    let environment = pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    lines(load(&Said { environment, ..Said::default() }))
}

#[test]
fn an_unknown_key_names_the_nearest_known_one() {
    for (file, wanted) in [
        ("[server]\n\nlisen = 1", "3: server.lisen: unknown key; the nearest known one is server.listen"),
        ("[server]\nurl = \"x\"", "2: server.url: unknown key; the nearest known one is store.url"),
        (
            "[cookie]\nsamesite = \"Lax\"",
            "2: cookie.samesite: unknown key; the nearest known one is cookie.same_site",
        ),
        (
            "cookie.csrf_haeder = 1",
            "1: cookie.csrf_haeder: unknown key; the nearest known one is cookie.csrf_header",
        ),
        ("[sever]\nlisten = 1", "1: sever: unknown section; the nearest known one is [server]"),
        ("[forward-auth]", "1: forward-auth: unknown section; the nearest known one is [forward_auth]"),
        ("listen = \"127.0.0.1:1\"", "1: listen: stands in no section; write it under [server]"),
        ("[policy]\nidle_timeout = \"1h\"", "2: policy.idle_timeout: unknown section; the known ones are"),
        (
            "[policy.default]\nidle_timout = \"1h\"",
            "2: policy.default.idle_timout: unknown key; the nearest known one is policy.default.idle_timeout",
        ),
        ("[policy.default]\nseats = 1", "2: policy.default.seats: unknown key"),
        (
            "[policy.tag.\"role:admin\"]\nseat = 1",
            "2: policy.tag.\"role:admin\".seat: unknown key; the nearest known one is seats",
        ),
        (
            "[session_type.checkout]\nexpires = \"1h\"",
            "2: session_type.checkout.expires: unknown key; the nearest known one is expires_in",
        ),
    ] {
        let found = problems(file);
        assert!(matches!(found.as_slice(), [one] if one.starts_with(wanted)), "{file:?}: {found:?}");
    }
    for (name, wanted) in [
        ("HANDSTAMP_SERVER__LISTN", "HANDSTAMP_SERVER__LISTEN"),
        ("HANDSTAMP_SERVER_LISTEN", "HANDSTAMP_SERVER__LISTEN"),
        ("HANDSTAMP_LOGLEVEL", "HANDSTAMP_LOG__LEVEL"),
        ("HANDSTAMP_LOG__LEVEL_FILE", "HANDSTAMP_LOG__LEVEL"),
    ] {
        let wanted = format!("{name}: unknown environment variable; the nearest known one is {wanted}");
        assert_eq!(environment(&[(name, "x")]), [wanted]);
    }
}

/// A name of the file may hold anything that TOML can escape; a terminal or a log must not act on it.
#[test]
fn control_characters_are_shown_and_not_sent() {
    for (file, wanted) in [
        ("\"a\\nb\" = 1", "1: a\\nb: unknown section"),
        ("[\"s\\u0007\"]", "1: s\\u{7}: unknown section"),
        ("[server]\n\"\\u001b[2J\" = true", "2: server.\\u{1b}[2J: unknown key"),
        ("[policy.\"\\u0085\"]", "1: policy.\\u{85}: unknown section"),
        ("[policy.tag.\"a\\u0007:b\"]\nseat = 1", "1: policy.tag.\"a\\u{7}:b\": "),
    ] {
        let found = problems(file);
        assert!(found.iter().any(|one| one.starts_with(wanted)), "{file:?}: {found:?}");
        assert!(!found.iter().any(|one| one.chars().any(char::is_control)), "{file:?}: {found:?}");
    }
}

#[test]
fn a_wrong_value_says_what_would_be_right() {
    for (file, wanted) in [
        (
            "[server]\nlisten = \"7411\"",
            "2: server.listen: `7411` is not an address and a port: write them such as",
        ),
        ("[server]\nlisten = 7411", "2: server.listen: is a number: write an address and a port in quotes"),
        ("[server]\ndata_dir = \"\"", "2: server.data_dir: is not a path: write one such as"),
        (
            "[server]\ntrusted_proxies = \"10.0.0.0/8\"",
            "2: server.trusted_proxies: is a text: write a list such as",
        ),
        (
            "[server]\ntrusted_proxies = [\"10.0.0.1/8\"]",
            "2: server.trusted_proxies: `10.0.0.1/8` names an address inside its network: write \"10.0.0.0/8\"",
        ),
        (
            "[server]\ntrusted_proxies = [\"10.0.0.0/33\"]",
            "2: server.trusted_proxies: `10.0.0.0/33` says more than 32 bits",
        ),
        (
            "[server]\ntrusted_proxies = [\"proxy\"]",
            "2: server.trusted_proxies: `proxy` is not an address or a network",
        ),
        (
            "[server]\nheader_timeout = \"10\"",
            "2: server.header_timeout: `10` is not a duration: write a number and a unit",
        ),
        (
            "[server]\nheader_timeout = \"99ms\"",
            "2: server.header_timeout: 99ms is out of range: choose between 100ms and 1h",
        ),
        (
            "[server]\nmax_connections = 0",
            "2: server.max_connections: 0 is out of range: choose between 1 and 1000000",
        ),
        (
            "[server]\nmax_connections = 1.5",
            "2: server.max_connections: is a number with a fraction: write a whole number",
        ),
        ("[server]\nmax_connections = -1", "2: server.max_connections: `-1` is not a whole number"),
        (
            "[cache]\nmax_bytes = \"512M\"",
            "2: cache.max_bytes: `512M` is not a size: write a number of bytes, or one with a unit",
        ),
        ("[cache]\nmax_bytes = 1", "2: cache.max_bytes: 1B is out of range: choose between 1MiB and 1TiB"),
        ("[cookie]\nsecure = \"yes\"", "2: cookie.secure: is a text: write true or false, without quotes"),
        ("[cookie]\nsame_site = \"Laxx\"", "2: cookie.same_site: `Laxx` is not one of Strict, Lax, None"),
        ("[cookie]\nname = \"a b\"", "2: cookie.name: `a b` is not a name for a cookie or a header"),
        ("[cookie]\nname = \"a;b\"", "2: cookie.name: `a;b` is not a name for a cookie or a header"),
        (
            "[cookie]\ncsrf_domain = \".example.org\"",
            "2: cookie.csrf_domain: `.example.org` begins with a dot: write \"example.org\"",
        ),
        (
            "[cookie]\ncsrf_domain = \"localhost\"",
            "2: cookie.csrf_domain: `localhost` is not a domain: write it such as",
        ),
        ("[cookie]\ncsrf_domain = \"127.0.0.1\"", "2: cookie.csrf_domain: `127.0.0.1` is an address"),
        ("[browser]\nenvironment = \"prd\"", "2: browser.environment: `prd` is not product/environment"),
        ("[browser]\nenvironment = \"handstamp/prd\"", "2: browser.environment: `handstamp/prd` is reserved"),
        ("[browser]\nenvironment = { \"a:80\" = \"a/b\" }", "2: browser.environment: `a:80` is not a host"),
        ("[browser]\nenvironment = { }", "2: browser.environment: names no host"),
        ("[cors]\norigins = [\"*\"]", "2: cors.origins: `*` would let any page use its visitor's session"),
        (
            "[cors]\norigins = [\"https://a.example/\"]",
            "2: cors.origins: `https://a.example/` says more than an origin: write \"https://a.example\"",
        ),
        (
            "[cors]\norigins = [\"https://a.example:443\"]",
            "2: cors.origins: `https://a.example:443` names the usual port",
        ),
        (
            "[cors]\norigins = [\"https://A.example\"]",
            "2: cors.origins: `https://A.example` is not an origin",
        ),
        ("[cors]\norigins = [\"a.example\"]", "2: cors.origins: `a.example` is not an origin"),
        ("[login]\nurl = \"//evil.example\"", "2: login.url: `//evil.example` is not the address of a page"),
        (
            "[login]\nurl = \"javascript:alert(1)\"",
            "2: login.url: `javascript:alert(1)` is not the address of a page",
        ),
        (
            "[log]\nlevel = \"verbose\"",
            "2: log.level: `verbose` is not one of error, warn, info, debug, trace",
        ),
        ("[history]\nretention = 2024-01-01", "2: history.retention: is a date: write a duration in quotes"),
        (
            "[policy.default]\nidle_timeout = \"999ms\"",
            "2: policy.default.idle_timeout: 999ms is out of range: choose between 1s and 3660d",
        ),
        (
            "[policy.default]\nidle_timeout = \"never\"",
            "2: policy.default.idle_timeout: `never` is not a duration",
        ),
        (
            "[policy.default]\nrotate_every = \"soon\"",
            "2: policy.default.rotate_every: `soon` is not a duration",
        ),
        ("[policy.default]\nrotate_every = \"1ms\"", "2: policy.default.rotate_every: 1ms is out of range"),
        (
            "[policy.default]\nrotation_grace = \"2d\"",
            "2: policy.default.rotation_grace: 2d is out of range: choose between 0s and 1d",
        ),
        ("[policy.default]\nrate_limit = \"15000\"", "2: policy.default.rate_limit: `15000` is not a rate"),
        (
            "[policy.default]\ncreate_only_tags = [\"org:acme\"]",
            "2: policy.default.create_only_tags: `org:acme` is not the name of a tag",
        ),
        (
            "[policy.tag.admin]\nmax_sessions = 1",
            "1: policy.tag.admin: can never match: `admin` is not a tag: write it as name:value, or name:* for every value",
        ),
        (
            "[policy.tag.\"Role:*\"]\nmax_sessions = 1",
            "1: policy.tag.\"Role:*\": can never match: `Role` is not the name of a tag",
        ),
        (
            "[policy.tag.\"role:*\"]\nmax_sessions = 0",
            "2: policy.tag.\"role:*\".max_sessions: 0 is out of range",
        ),
        (
            "[session_type.a]\nselector = \"userId\"",
            "2: session_type.a.selector: `userId` is not a selector: write it such as \"$Session{userId}\"",
        ),
        (
            "[session_type.a]\nselector = \"$Session{a}{}\"",
            "2: session_type.a.selector: `$Session{a}{}` is not a selector",
        ),
        ("[session_type.a]\nschema = 1", "2: session_type.a.schema: is a number: write a table"),
        (
            "[session_type.a]\nschema = { a = \"strin\", b = { c = 1 } }",
            "2: session_type.a.schema: /a is no type: write string, number, integer, boolean, object, array or any",
        ),
        (
            "[session_type.a]\nexpires_in = \"1h\"\n[session_type.a.schema]\ntype = \"object\"\nunevaluated = true",
            "3: session_type.a.schema: /unevaluated is no keyword that this server knows",
        ),
        (
            "[session_type.a]\nschema = { type = \"string\", const = 1979-05-27 }",
            "2: session_type.a.schema: has a date in it, which JSON does not have",
        ),
        (
            "[session_type.a]\nexpires_in = \"0s\"",
            "2: session_type.a.expires_in: 0s is out of range: choose between 1s",
        ),
        (
            "[session_type.\"a b\"]\nexpires_in = \"1h\"",
            "1: session_type.\"a b\": is not the name of a session type",
        ),
        (
            "[session_type.\"a:b\"]\nexpires_in = \"1h\"",
            "1: session_type.\"a:b\": is not the name of a session type",
        ),
        ("[session_type.a]", "1: session_type.a: says nothing: give it a key, or leave it out"),
        ("[session_type]\na = 1", "2: session_type.a: is a number: write a section [session_type.a]"),
        (
            "[server]\nmaster_key = \"m\"",
            "2: server.master_key: is not taken from this file: set HANDSTAMP_SERVER__MASTER_KEY or",
        ),
        (
            "[bootstrap]\naccess_key = \"hsk_short\"",
            "2: bootstrap.access_key: is not a whole access key: `handstamp keys generate`",
        ),
        (
            "[bootstrap]\naccess_key = \"hsp_short\"",
            "2: bootstrap.access_key: is a credential of another kind",
        ),
    ] {
        let found = problems(file);
        assert!(matches!(found.as_slice(), [one] if one.starts_with(wanted)), "{file:?}: {found:?}");
    }
}

#[test]
fn every_layer_is_named_in_its_errors() {
    assert_eq!(
        environment(&[("HANDSTAMP_LOG__LEVEL", "loud")]),
        ["HANDSTAMP_LOG__LEVEL: log.level: `loud` is not one of error, warn, info, debug, trace"]
    );
    assert_eq!(
        environment(&[("HANDSTAMP_COOKIE__SECURE", "1")]),
        ["HANDSTAMP_COOKIE__SECURE: cookie.secure: `1` is not true or false"]
    );
    let flags = Flags { listen: Some(":80".to_owned()), ..Flags::default() };
    let found = lines(load(&Said { flags, ..Said::default() }));
    assert!(
        matches!(found.as_slice(), [one] if one.starts_with("--listen: server.listen: `:80` is not")),
        "{found:?}"
    );
    let found = environment(&[("HANDSTAMP_BOOTSTRAP__ACCESS_KEY_FILE", "/nowhere/key")]);
    assert!(matches!(found.as_slice(), [one] if one.contains("`/nowhere/key` cannot be read")), "{found:?}");
    let found = environment(&[("HANDSTAMP_POLICY__DEFAULT__IDLE_TIMEOUT", "1h")]);
    assert!(
        matches!(found.as_slice(), [one] if one.contains("set in the file or over the API")),
        "{found:?}"
    );
}

#[test]
fn all_problems_come_at_once() {
    let file = "[server]\nlisten = \"x\"\nlisen = 1\n[cookie]\ndomain = \"example.org\"\nsame_site = \"no\"\n\
                [store]\nurl = \"redis://db.example/0\"\n";
    let said = Said {
        file: Some(file),
        environment: vec![("HANDSTAMP_LOG__LEVEL", "loud".to_owned()), ("HANDSTAMP_NO", String::new())],
        flags: Flags { data_dir: Some(String::new()), ..Flags::default() },
    };
    let found = lines(load(&said));
    let wanted = [
        "2: server.listen:",
        "3: server.lisen: unknown key",
        "5: cookie.domain: `__Host-handstamp` begins with __Host-",
        "6: cookie.same_site:",
        "8: store.url: Redis as a store comes in a later version",
        "HANDSTAMP_NO: unknown environment variable",
        "HANDSTAMP_LOG__LEVEL: log.level:",
        "--data-dir: server.data_dir:",
    ];
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
    for (line, wanted) in found.iter().zip(wanted) {
        assert!(line.starts_with(wanted), "{line} / {wanted}");
    }
}

/// A wrong value in a lower layer is told although a higher layer replaces it: it would bite later.
#[test]
fn a_replaced_value_is_looked_at_too() {
    let environment = vec![("HANDSTAMP_LOG__LEVEL", "info".to_owned())];
    let found = lines(load(&Said { file: Some("[log]\nlevel = \"loud\""), environment, ..Said::default() }));
    assert!(matches!(found.as_slice(), [one] if one.starts_with("2: log.level")), "{found:?}");
}

#[test]
fn what_is_not_toml_names_its_line_and_repeats_nothing() {
    let found = problems("[server]\nlisten = \"127.0.0.1:1\"\n[bootstrap]\naccess_key = \"hsk_PLANTED\n");
    assert!(found[0].starts_with("4: is not TOML: "), "{found:?}");
    let found = problems("[log]\nlevel = \"info\"\nlevel = \"warn\"\n");
    assert!(found[0].starts_with("3: is not TOML: duplicate key"), "{found:?}");
}

/// Names that container platforms put into the environment on their own.
#[test]
fn links_to_services_are_none_of_ours() {
    let links = [
        "HANDSTAMP_SERVICE_HOST",
        "HANDSTAMP_SERVICE_PORT",
        "HANDSTAMP_SERVICE_PORT_HTTP",
        "HANDSTAMP_PORT",
        "HANDSTAMP_PORT_7411_TCP",
        "HANDSTAMP_PORT_7411_TCP_ADDR",
        "HANDSTAMP_PORT_7411_TCP_PORT",
        "HANDSTAMP_PORT_7411_TCP_PROTO",
        "HANDSTAMP_DB_SERVICE_HOST",
        "HANDSTAMP_DB_PORT_5432_TCP_ADDR",
        "HANDSTAMP_KEY",
        "HANDSTAMP_KEY_FILE",
        "PATH",
    ];
    assert_eq!(environment(&links.map(|name| (name, "10.0.0.1"))), Vec::<String>::new());
    for name in ["HANDSTAMP_SERVICE", "HANDSTAMP_PORT_X_TCP", "HANDSTAMP_SERVER__PORT", "HANDSTAMP_"] {
        assert_eq!(environment(&[(name, "x")]).len(), 1, "{name}");
    }
}

#[test]
fn no_error_repeats_a_secret() {
    let planted = "PLANTED";
    let file = "[bootstrap]\naccess_key = \"hsk_PLANTED!\"\nacess_key = \"PLANTED\"\n\
                [control]\nurl = \"mysql://u:PLANTED@h/d\"\n[server]\nmaster_key = \"PLANTED\"\n";
    let environment = vec![
        ("HANDSTAMP_BOOTSTRAP__ACCESS_KEY", format!("hsp_{planted}")),
        ("HANDSTAMP_CONTROL__URL", format!("redis:{planted}")),
        ("HANDSTAMP_MASTER_KEY", planted.to_owned()),
    ];
    let flags =
        Flags { store: Some(format!("redis://u:{planted}@h/0?password={planted}")), ..Flags::default() };
    let found = lines(load(&Said { file: Some(file), environment, flags }));
    assert_eq!(found.len(), 8, "{found:#?}");
    assert!(!found.join("\n").contains(planted), "{found:#?}");
}
