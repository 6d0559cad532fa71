//! Who wins, and does each value know where it came from?

use super::{Said, access_key, directory, good, kept, lines, load, origin_of, written};
use handstamp_core::policy::setting::Every;
use handstamp_core::policy::{Policy, Rules};
use handstamp_core::time::Span;
use handstamp_server::config::cookie::SameSite;
use handstamp_server::config::log::{Format, Level};
use handstamp_server::config::server::MasterKey;
use handstamp_server::config::store::StoreUrl;
use handstamp_server::config::{Config, ConfigFile, Environment, Flags, Origin, Sources};
use handstamp_server::schema::session_type::SessionTypes;
use serde_json::json;
use std::path::{Path, PathBuf};

fn one(name: &'static str, value: &str) -> Vec<(&'static str, String)> {
    vec![(name, value.to_owned())]
}

#[test]
fn without_anything_the_documented_defaults_stand() {
    let config = load(&Said::default()).ok().unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:7411");
    assert_eq!(config.server.data_dir, Path::new("./handstamp-data"));
    assert!(config.server.trusted_proxies.is_empty() && config.server.tls.is_none());
    assert!(
        matches!(&config.server.master_key, MasterKey::Made(file) if file == Path::new("./handstamp-data/master.key"))
    );
    assert!(config.store.url == StoreUrl::Sqlite(PathBuf::from("./handstamp-data/handstamp.db")));
    assert!(config.control.url.is_none() && config.bootstrap.access_key.is_none());
    assert_eq!(config.cache.max_bytes, 512 << 20);
    assert_eq!(config.forward_auth.listen.unwrap().to_string(), "127.0.0.1:7412");
    assert_eq!(config.metrics.listen, None);
    assert_eq!(config.history.retention, Span::days(30));
    let cookie = &config.cookie;
    assert_eq!((cookie.name.as_str(), cookie.same_site), ("__Host-handstamp", SameSite::Lax));
    assert_eq!(
        (&cookie.domain, &cookie.csrf_domain, cookie.secure, cookie.partitioned),
        (&None, &None, true, false)
    );
    assert_eq!((cookie.csrf_cookie.as_str(), cookie.csrf_header.as_str()), ("XSRF-TOKEN", "X-XSRF-TOKEN"));
    assert_eq!(config.browser.environment.of("any.example").unwrap().product(), "default");
    assert_eq!(config.browser.environment.of("any.example").unwrap().environment(), "prd");
    assert!(config.browser.expose.is_empty() && config.cors.origins.is_empty());
    assert!(config.login.url.is_none() && config.login.redirect_origins.is_empty());
    assert_eq!((config.log.format, config.log.level), (Format::Auto, Level::Info));
    assert_eq!(config.policy.policy, Policy::default());
    assert!(!config.policy.managed_by_file);
    assert!(config.warnings.is_empty() && config.file.is_none());
    assert!(config.entries.iter().all(|entry| entry.origin == Origin::Default));
}

/// Each row says the same key in more layers; the last of them wins.
#[test]
fn a_higher_layer_wins_and_is_named() {
    let file = Some("\n[server]\nlisten = \"127.0.0.1:1\"\n");
    let environment = one("HANDSTAMP_SERVER__LISTEN", "127.0.0.1:2");
    let flags = Flags { listen: Some("127.0.0.1:3".to_owned()), ..Flags::default() };
    for (said, port, origin) in [
        (Said { file, ..Said::default() }, 1, "handstamp.toml:3"),
        (Said { file, environment: environment.clone(), ..Said::default() }, 2, "HANDSTAMP_SERVER__LISTEN"),
        (Said { file, environment: environment.clone(), flags: flags.clone() }, 3, "--listen"),
        (Said { file, flags: flags.clone(), ..Said::default() }, 3, "--listen"),
        (Said { environment, ..Said::default() }, 2, "HANDSTAMP_SERVER__LISTEN"),
    ] {
        let config = load(&said).ok().unwrap();
        assert_eq!(config.server.listen.port(), port);
        let named = origin_of(&config, "server.listen").to_string();
        assert!(named.ends_with(origin), "{named} {origin}");
    }
}

#[test]
fn every_flag_reaches_its_key() {
    let text = |value: &str| Some(value.to_owned());
    let flags = Flags {
        listen: text("127.0.0.1:0"),
        data_dir: text("/d"),
        store: text("sqlite:/s.db"),
        control: text("sqlite:/c.db"),
    };
    let config = load(&Said { flags, ..Said::default() }).ok().unwrap();
    assert_eq!(config.server.listen.port(), 0);
    assert_eq!(config.server.access_key_file(), Path::new("/d/access.key"));
    assert!(config.store.url == StoreUrl::Sqlite(PathBuf::from("/s.db")));
    assert!(config.control.url == Some(StoreUrl::Sqlite(PathBuf::from("/c.db"))));
    for (path, flag) in [
        ("server.listen", "--listen"),
        ("server.data_dir", "--data-dir"),
        ("store.url", "--store"),
        ("control.url", "--control"),
    ] {
        assert_eq!(origin_of(&config, path), Origin::Flag(flag));
    }
}

#[test]
fn the_default_file_is_read_only_if_it_is_there() {
    let place = directory().join("handstamp.toml");
    let sources = |file| Sources { file, environment: Environment::default(), flags: Flags::default() };
    let absent = Config::load(&sources(ConfigFile::IfPresent(place.clone()))).ok().unwrap();
    assert_eq!(absent.file, None);
    let named = lines(Config::load(&sources(ConfigFile::Named(place.clone()))));
    assert!(matches!(named.as_slice(), [one] if one.contains("cannot be read")), "{named:?}");
    std::fs::write(&place, "[log]\nlevel = \"debug\"").unwrap();
    let present = Config::load(&sources(ConfigFile::IfPresent(place.clone()))).ok().unwrap();
    assert_eq!((present.log.level, present.file), (Level::Debug, Some(place)));
}

#[test]
fn lists_are_arrays_in_the_file_and_commas_in_the_environment() {
    let file = "[cors]\norigins = [\"https://a.example\", \"http://localhost:3000\"]";
    let from_file = good(file);
    let from_environment = load(&Said {
        environment: one("HANDSTAMP_CORS__ORIGINS", " https://a.example , http://localhost:3000,"),
        ..Said::default()
    });
    assert_eq!(from_file.cors, from_environment.ok().unwrap().cors);
    let emptied =
        Said { file: Some(file), environment: one("HANDSTAMP_CORS__ORIGINS", ""), ..Said::default() };
    assert!(load(&emptied).ok().unwrap().cors.origins.is_empty());
}

#[test]
fn an_empty_variable_takes_away_what_the_file_says() {
    let file = Some("[cookie]\nname = \"s\"\ndomain = \"example.org\"");
    let config = load(&Said { file, ..Said::default() }).ok().unwrap();
    assert_eq!(config.cookie.domain.as_deref(), Some("example.org"));
    let environment = one("HANDSTAMP_COOKIE__DOMAIN", "");
    let config = load(&Said { file, environment, ..Said::default() }).ok().unwrap();
    assert_eq!(config.cookie.domain, None);
}

#[test]
fn secrets_come_from_the_environment_or_from_a_file_it_names() {
    let key = &access_key(1);
    let file = written("key", &format!("{key}\n")).display().to_string();
    for environment in
        [one("HANDSTAMP_BOOTSTRAP__ACCESS_KEY", key), one("HANDSTAMP_BOOTSTRAP__ACCESS_KEY_FILE", &file)]
    {
        let name = environment[0].0.to_owned();
        let config = load(&Said { environment, ..Said::default() }).ok().unwrap();
        assert_eq!(config.bootstrap.access_key.as_ref().unwrap().expose_secret(), key);
        assert_eq!(origin_of(&config, "bootstrap.access_key"), Origin::Environment(name));
    }
    let master = load(&Said { environment: one("HANDSTAMP_SERVER__MASTER_KEY", "m"), ..Said::default() });
    assert!(
        matches!(&master.ok().unwrap().server.master_key, MasterKey::Given(s) if s.expose_secret() == "m")
    );
    let named =
        load(&Said { environment: one("HANDSTAMP_SERVER__MASTER_KEY_FILE", &file), ..Said::default() });
    assert!(
        matches!(&named.ok().unwrap().server.master_key, MasterKey::File(f) if f.display().to_string() == file)
    );
    let both = load(&Said {
        environment: vec![
            ("HANDSTAMP_SERVER__MASTER_KEY", "m".to_owned()),
            ("HANDSTAMP_SERVER__MASTER_KEY_FILE", file),
        ],
        ..Said::default()
    });
    assert_eq!(
        lines(both),
        [
            "HANDSTAMP_SERVER__MASTER_KEY_FILE: is set together with HANDSTAMP_SERVER__MASTER_KEY: set one of the two"
        ]
    );
}

#[test]
fn the_policy_of_the_file_reaches_core() {
    let config = good(
        "[policy.default]\nabsolute_timeout = \"12h\"\nidle_timeout = \"15m\"\nrefresh_timeout = \"7d\"\n\
         rotate_every = \"never\"\nrotation_grace = \"0s\"\n",
    );
    let wanted = Policy::from(Rules {
        absolute_timeout: Some(Span::hours(12)),
        idle_timeout: Some(Span::minutes(15)),
        refresh_timeout: Some(Span::days(7)),
        rotate_every: Some(Every(None)),
        rotation_grace: Some(Span(0)),
        ..Rules::default()
    });
    assert_eq!(config.policy.policy, wanted);
    assert!(config.policy.managed_by_file);
    assert!(!good("[log]\nlevel = \"info\"").policy.managed_by_file);
}

#[test]
fn the_session_types_of_the_file_are_ready_for_use() {
    let config = good(
        "[session_type.checkout-session]\nexpires_in = \"90m\"\nselector = \"$Session{user}{id}\"\n\
         [session_type.checkout-session.schema]\nuser = { id = \"integer\" }\n\"nick?\" = \"string\"\n\
         [session_type.\"2fa\"]\nrefresh_expires_in = \"7d\"\nschema = { type = \"number\", minimum = 0.5 }\n",
    );
    let types = config.session_types.in_force().unwrap();
    let shown: Vec<_> = types.iter().map(|(name, said)| (name.as_str(), said.show())).collect();
    assert_eq!(
        shown,
        [
            ("2fa", json!({ "refresh_expires_in": "7d", "schema": { "type": "number", "minimum": 0.5 } })),
            (
                "checkout-session",
                json!({
                    "expires_in": "1h30m", "selector": "$Session{user}{id}",
                    "schema": { "user": { "id": "integer" }, "nick?": "string" }
                })
            ),
        ]
    );
    assert!(!config.policy.managed_by_file);
    assert_eq!(good("[session_type]").session_types.in_force(), Some(SessionTypes::new()));
    assert_eq!(good("[policy.default]\nidle_timeout = \"1h\"").session_types.in_force(), None);
}

#[test]
fn an_environment_by_host() {
    let file = good(
        "[browser]\nenvironment = { \"App.example.org\" = \"app/prd\", \"test.example.org\" = \"app/stg\" }",
    );
    let variable = load(&Said {
        environment: one(
            "HANDSTAMP_BROWSER__ENVIRONMENT",
            "app.example.org=app/prd, test.example.org=app/stg",
        ),
        ..Said::default()
    });
    assert_eq!(file.browser, variable.ok().unwrap().browser);
    let environments = &file.browser.environment;
    assert_eq!(environments.of("APP.example.org").unwrap().environment(), "prd");
    assert_eq!(environments.of("test.example.org").unwrap().environment(), "stg");
    assert_eq!(environments.of("example.org"), None);
}

#[test]
fn sizes_networks_and_limits() {
    for (text, bytes) in [
        ("\"64MiB\"", 64 << 20),
        ("\"2 gib\"", 2 << 30),
        ("\"5MB\"", 5_000_000),
        ("1048576", 1 << 20),
        ("\"1048577\"", (1 << 20) + 1),
    ] {
        let config = good(kept(format!("[cache]\nmax_bytes = {text}")));
        assert_eq!(config.cache.max_bytes, bytes, "{text}");
    }
    let config =
        good("[server]\ntrusted_proxies = [\"10.0.0.0/8\", \"2001:db8::/33\", \"192.0.2.7\", \"::/0\"]");
    let [ten, six, one, all] = config.server.trusted_proxies.as_slice() else { panic!() };
    let held = |network: &handstamp_server::config::network::Network, text: &str| {
        network.contains(text.parse().unwrap())
    };
    assert!(held(ten, "10.255.255.255") && !held(ten, "11.0.0.0") && !held(ten, "9.255.255.255"));
    assert!(held(ten, "::ffff:10.1.2.3") && !held(ten, "::10.1.2.3"));
    assert!(held(six, "2001:db8:7fff::1") && !held(six, "2001:db8:8000::1"));
    assert!(held(one, "192.0.2.7") && !held(one, "192.0.2.6") && !held(one, "::1"));
    assert!(held(all, "ffff::1") && !held(all, "1.2.3.4"));
    let limits =
        good("[server]\nheader_timeout = \"250ms\"\nmax_connections = 7\nmax_header_bytes = \"32KiB\"")
            .server
            .limits;
    assert_eq!(
        (limits.header_timeout, limits.max_connections, limits.max_header_bytes),
        (Span::millis(250), 7, 32_768)
    );
}
