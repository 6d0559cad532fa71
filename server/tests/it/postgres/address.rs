//! Addresses: what is understood, and that everything else is refused without a word of it.

use handstamp_server::store::postgres::Address;

#[test]
fn what_is_understood() {
    for (text, place, schema, encrypted) in [
        ("postgres://ada@db/app", "db:5432/app", "handstamp", true),
        ("postgresql://ada:pw@db.example.org:6432/app", "db.example.org:6432/app", "handstamp", true),
        (
            "postgres://a%40b:p%2F%3F%40w@10.0.0.7/app?sslmode=disable",
            "10.0.0.7:5432/app",
            "handstamp",
            false,
        ),
        ("postgres://ada:pw@[::1]:6000/app?sslmode=verify-full", "[::1]:6000/app", "handstamp", true),
        (
            "postgres://ada:@a,b:7,[2001:db8::1]/app?target_session_attrs=read-write&schema=other_2",
            "a:5432,b:7,[2001:db8::1]:5432/app",
            "other_2",
            true,
        ),
        ("postgres://ada:pw@db/app?sslrootcert=/etc/ca%20s.pem", "db:5432/app", "handstamp", true),
        ("postgres://ada:pw@db/app?sslmode=verify-full&sslrootcert=system", "db:5432/app", "handstamp", true),
    ] {
        let address = Address::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
        assert_eq!(
            (address.place().as_str(), address.schema(), address.encrypted()),
            (place, schema, encrypted)
        );
    }
}

#[test]
fn everything_else_is_refused() {
    for (text, words) in [
        ("", "write postgres://"),
        ("mysql://ada:s3cret@db/app", "write postgres://"),
        ("postgres://db/app", "write postgres://"),
        ("postgres://ada:s3cret@db", "write postgres://"),
        ("postgres://ada:s3cret@db/", "write postgres://"),
        ("postgres://:s3cret@db/app", "write postgres://"),
        ("postgres://ada:s3cret@db/app/more", "write postgres://"),
        ("postgres://ada:s3cret@db/app#x", "write postgres://"),
        // Special characters of a password that are not written as %XX.
        ("postgres://ada:s3@cret@db/app", "a name or an address"),
        ("postgres://ada:s3:cret@db/app", "as %XX"),
        ("postgres://ada:s3/cret@db/app", "as %XX"),
        ("postgres://ada:s3?cret@db/app", "as %XX"),
        ("postgres://ada:s3%cret@db/app", "as %XX"),
        ("postgres://ada:s3cret%0@db/app", "as %XX"),
        ("postgres://ada:s3cret%00@db/app", "as %XX"),
        ("postgres://ada:s3cret%ff@db/app", "as %XX"),
        // Hosts.
        ("postgres://ada:s3cret@/app", "a name or an address"),
        ("postgres://ada:s3cret@%2Fvar%2Frun/app", "a name or an address"),
        ("postgres://ada:s3cret@db:0/app", "a port from 1"),
        ("postgres://ada:s3cret@db:65536/app", "a port from 1"),
        ("postgres://ada:s3cret@db:+1/app", "a port from 1"),
        ("postgres://ada:s3cret@db:/app", "a port from 1"),
        ("postgres://ada:s3cret@a,,b/app", "a name or an address"),
        ("postgres://ada:s3cret@::1/app", "a name or an address"),
        ("postgres://ada:s3cret@[::1/app", "a name or an address"),
        ("postgres://ada:s3cret@[db]/app", "a name or an address"),
        // Parameters.
        ("postgres://ada@db/app?sslmode=require", "verify-full"),
        ("postgres://ada@db/app?sslmode=prefer", "verify-full"),
        ("postgres://ada@db/app?sslmode=verify-ca", "verify-full"),
        ("postgres://ada@db/app?sslmode=VERIFY-FULL", "verify-full"),
        ("postgres://ada@db/app?sslmode=disable&sslmode=disable", "each once"),
        ("postgres://ada@db/app?sslmode", "each once"),
        ("postgres://ada@db/app?", ""),
        ("postgres://ada@db/app?password=s3cret", "may stand sslmode"),
        ("postgres://ada@db/app?sslmode=disable&sslrootcert=/ca.pem", "sslrootcert"),
        ("postgres://ada@db/app?sslrootcert=", "sslrootcert"),
        ("postgres://ada@db/app?target_session_attrs=any", "read-write"),
        ("postgres://ada@db/app?schema=", "schema has"),
        ("postgres://ada@db/app?schema=Big", "schema has"),
        ("postgres://ada@db/app?schema=1a", "schema has"),
        ("postgres://ada@db/app?schema=pg_own", "schema has"),
        ("postgres://ada@db/app?schema=a%3B%20drop", "schema has"),
        ("postgres://ada@db/app?schema=a23456789012345678901234567890123456789012", "schema has"),
    ] {
        let Err(why) = Address::parse(text) else {
            assert!(words.is_empty(), "{text} is taken");
            continue;
        };
        let (said, debug) = (why.to_string(), format!("{why:?}"));
        assert!(said.contains(words) && !words.is_empty(), "{text}: {said}");
        for part in ["s3", "cret", "ada"] {
            assert!(!said.contains(part) && !debug.contains(part), "{text} is repeated: {said}");
        }
    }
}
