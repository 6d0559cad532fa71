//! Claims of other kinds, and numbers that others read differently than we do.

use crate::support::claims;
use handstamp_core::jose::claims::Claims;
use proptest::prelude::*;

/// JSON of any kind, small.
fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        any::<f64>()
            .prop_filter("JSON has no such number", |value| value.is_finite())
            .prop_map(|value| value.to_string()),
        Just("1.7e9".to_owned()),
        Just("1700000000.0".to_owned()),
        Just("\"1700000000\"".to_owned()),
        "[a-z/]{0,9}".prop_map(|text| format!("\"{text}\"")),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(|all| format!("[{}]", all.join(","))),
            inner.prop_map(|one| format!("{{\"a\":{one}}}")),
        ]
    })
}

const TIMES: [&str; 5] = ["iat", "nbf", "exp", "auth_time", "epoch"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]
    /// A claim of another kind is never taken for one that is absent, and never becomes another value.
    #[test]
    fn claims_of_any_kind(
        name in prop::sample::select(vec!["iss", "aud", "sub", "sid", "iat", "nbf", "exp", "jti", "tags", "groups", "auth_time", "epoch"]),
        value in any_json(),
    ) {
        let mut all: serde_json::Value = serde_json::from_str(&claims().write()).unwrap();
        all[name] = serde_json::Value::Null;
        let text = all.to_string().replacen(&format!("\"{name}\":null"), &format!("\"{name}\":{value}"), 1);
        let Ok(read) = Claims::read(text.as_bytes()) else { return Ok(()) };
        // What was read is what was said, in the kind that it has to be.
        let again: serde_json::Value = serde_json::from_str(&read.write()).unwrap();
        let said: serde_json::Value = serde_json::from_str(&value).unwrap();
        let one = said.as_array().filter(|all| name == "aud" && all.len() == 1).map_or(&said, |all| &all[0]);
        prop_assert_eq!(&again[name], one);
        let right = match name {
            "aud" => said.is_string() || said.as_array().is_some_and(|all| !all.is_empty() && all.iter().all(serde_json::Value::is_string)),
            "tags" | "groups" => said.as_array().is_some_and(|all| all.iter().all(serde_json::Value::is_string)),
            name if TIMES.contains(&name) => said.is_u64(),
            _ => said.is_string(),
        };
        prop_assert!(right, "{} {}", name, value);
    }
}

/// What we write, with one claim put in another way.
fn with(name: &str, value: &str) -> String {
    let mut all: serde_json::Value = serde_json::from_str(&claims().write()).unwrap();
    all[name] = serde_json::Value::Null;
    all.to_string().replacen(&format!("\"{name}\":null"), &format!("\"{name}\":{value}"), 1)
}

#[test]
fn times_written_in_another_way() {
    for name in TIMES {
        let good = serde_json::from_str::<serde_json::Value>(&claims().write()).unwrap()[name].clone();
        assert_eq!(Claims::read(with(name, &good.to_string()).as_bytes()), Ok(claims()));
        for other in [
            format!("\"{good}\""),
            format!("{good}.0"),
            format!("{good}e0"),
            format!("+{good}"),
            format!("0{good}"),
            format!("-{good}"),
            format!("[{good}]"),
            format!("{{\"x\":{good}}}"),
            "null".to_owned(),
            "true".to_owned(),
        ] {
            assert!(Claims::read(with(name, &other).as_bytes()).is_err(), "{name}: {other}");
        }
    }
}

/// Readers that keep numbers as floating point see 2^53 and 2^53 + 1 as the same.
#[test]
fn numbers_end_where_others_lose_count() {
    let read =
        |number: u64| Claims::read(with("epoch", &number.to_string()).as_bytes()).map(|claims| claims.epoch);
    assert_eq!(read((1 << 53) - 1), Ok((1 << 53) - 1));
    assert!(read(1 << 53).is_err() && read(u64::MAX).is_err());
}
