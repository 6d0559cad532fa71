//! What an access token says (RFC 7519, and RFC 9068 for the names), and whether that still stands.
//!
//! ```text
//! iss  whose it is: issuer, product and environment      iat nbf exp  whole seconds since 1970
//! aud  for whom: one or several                           jti          its own name
//! sub  the user                                           auth_time    the last authentication; amr how, acr how surely (1 to 3)
//! sid  the session                                        act          who acts in the user's place
//! tags, groups  of the session                            epoch        up to where epochs were looked at (see crate::epoch)
//! auth_epoch    the last authentication, in milliseconds  data         the session's data, sealed (see super::jwe)
//! status        where the status list has it              and what the application adds
//! ```
//!
//! A claim of a wrong kind is an error and never "absent": what cannot be read was not meant to be ignored (CVE-2026-25537).

use super::Flaw;
use super::json::{Json, Members, read_object, write_text};
use crate::id::SessionId;
use crate::time::{Millis, Span};

/// The `typ` of an access token (RFC 9068, section 2.1).
pub const TYPE: &str = "at+jwt";
/// The `typ` of the data inside of it.
pub const DATA_TYPE: &str = "session+jwe";
/// No access token lasts longer, from its making on.
pub const LONGEST_LIFE: Span = Span::days(1);
/// The rule's name in refusals.
pub const RULE: &str = "access_token";
/// How many audiences one token has, at most, and how many bytes each.
pub const AUDIENCES: usize = 8;
/// The most bytes of an audience.
pub const AUDIENCE: usize = 256;

/// The names that the application's own claims cannot have: ours, and those that other readers would take for something else.
pub const RESERVED: [&str; 24] = [
    "iss",
    "aud",
    "sub",
    "sid",
    "iat",
    "nbf",
    "exp",
    "jti",
    "tags",
    "groups",
    "amr",
    "acr",
    "auth_time",
    "act",
    "epoch",
    "auth_epoch",
    "data",
    "status",
    "cnf",
    "azp",
    "nonce",
    "events",
    "scope",
    "client_id",
];

/// What an access token says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claims {
    /// Whose token it is.
    pub issuer: String,
    /// For whom; at least one.
    pub audience: Vec<String>,
    /// The user.
    pub subject: String,
    /// The session.
    pub session: SessionId,
    /// Seconds since 1970.
    pub issued_at: u64,
    /// Seconds since 1970: from then on.
    pub not_before: u64,
    /// Seconds since 1970: no longer.
    pub expires_at: u64,
    /// Its own name.
    pub id: String,
    /// The session's tags when it was made.
    pub tags: Vec<String>,
    /// Its access groups then.
    pub groups: Vec<String>,
    /// How the user authenticated.
    pub methods: Vec<String>,
    /// How surely, 1 to 3, when somebody said.
    pub level: Option<u8>,
    /// The last authentication.
    pub authenticated_at: Millis,
    /// Who acts in the user's place.
    pub actor: Option<String>,
    /// The environment's epoch counter when it was made: every raise up to it was looked at.
    pub epoch: u64,
    /// The session's data, sealed.
    pub data: Option<String>,
    /// Its place in a status list, and where that is.
    pub status: Option<(u64, String)>,
    /// What the application adds; none of [`RESERVED`].
    pub custom: Members,
}

impl Claims {
    /// As the payload of a token.
    pub fn write(&self) -> String {
        let mut all = Written(String::from("{"));
        all.text("iss", &self.issuer);
        match self.audience.as_slice() {
            [one] => all.text("aud", one),
            several => all.texts("aud", several),
        }
        all.text("sub", &self.subject);
        all.text("sid", &self.session.to_string());
        all.number("iat", self.issued_at);
        all.number("nbf", self.not_before);
        all.number("exp", self.expires_at);
        all.text("jti", &self.id);
        all.texts("tags", &self.tags);
        all.texts("groups", &self.groups);
        if !self.methods.is_empty() {
            all.texts("amr", &self.methods);
        }
        if let Some(level) = self.level {
            all.text("acr", &level.to_string());
        }
        all.number("auth_time", u64::try_from(self.authenticated_at.0.div_euclid(1_000)).unwrap_or(0));
        all.number("auth_epoch", u64::try_from(self.authenticated_at.0).unwrap_or(0));
        if let Some(actor) = &self.actor {
            all.name("act");
            all.0.push_str("{\"sub\":");
            write_text(actor, &mut all.0);
            all.0.push('}');
        }
        all.number("epoch", self.epoch);
        if let Some(data) = &self.data {
            all.text("data", data);
        }
        if let Some((index, uri)) = &self.status {
            all.name("status");
            all.0.push_str(&format!("{{\"status_list\":{{\"idx\":{index},\"uri\":"));
            write_text(uri, &mut all.0);
            all.0.push_str("}}");
        }
        for (name, value) in self.custom.iter() {
            all.name(name);
            value.write(&mut all.0);
        }
        all.0.push('}');
        all.0
    }

    /// Reads the payload of a token whose signature was verified.
    ///
    /// # Errors
    /// [`Flaw::Claims`].
    pub fn read(payload: &[u8]) -> Result<Claims, Flaw> {
        read_object(payload).and_then(read).ok_or(Flaw::Claims)
    }

    /// From when on it can be used: what was made in the future is not good yet.
    pub fn since(&self) -> Millis {
        seconds(self.not_before.max(self.issued_at))
    }

    /// Until when it can be used.
    pub fn until(&self) -> Millis {
        seconds(self.expires_at)
    }
}

fn read(mut all: Members) -> Option<Claims> {
    let audience = match all.take("aud")? {
        Json::Text(one) => vec![one],
        Json::List(several) if !several.is_empty() => Json::List(several).into_texts()?,
        Json::List(_) | Json::Null | Json::Bool(_) | Json::Number(_) | Json::Object(_) => return None,
    };
    let authenticated_at = whole(&mut all, "auth_epoch")?;
    if whole(&mut all, "auth_time")? != authenticated_at / 1_000 {
        return None;
    }
    let texts = |all: &mut Members, name: &str| match all.take(name) {
        None => Some(Vec::new()),
        Some(value) => value.into_texts(),
    };
    let claims = Claims {
        issuer: text(&mut all, "iss")?,
        audience,
        subject: text(&mut all, "sub")?,
        session: SessionId::parse(&text(&mut all, "sid")?)?,
        issued_at: whole(&mut all, "iat")?,
        not_before: whole(&mut all, "nbf")?,
        expires_at: whole(&mut all, "exp")?,
        id: text(&mut all, "jti")?,
        tags: texts(&mut all, "tags")?,
        groups: texts(&mut all, "groups")?,
        methods: texts(&mut all, "amr")?,
        level: match all.take("acr") {
            None => None,
            Some(said) => Some(level(&said.into_text()?)?),
        },
        authenticated_at: Millis(i64::try_from(authenticated_at).ok()?),
        actor: match all.take("act") {
            None => None,
            Some(act) => Some(text(&mut act.into_object()?, "sub")?),
        },
        epoch: whole(&mut all, "epoch")?,
        data: match all.take("data") {
            None => None,
            Some(data) => Some(data.into_text()?),
        },
        status: match all.take("status") {
            None => None,
            Some(status) => {
                let mut list = status.into_object()?.take("status_list")?.into_object()?;
                Some((whole(&mut list, "idx")?, text(&mut list, "uri")?))
            }
        },
        custom: all,
    };
    let within = claims.issued_at <= claims.expires_at && claims.not_before <= claims.expires_at;
    let short =
        claims.expires_at.saturating_sub(claims.issued_at) <= u64::try_from(LONGEST_LIFE.as_secs()).ok()?;
    (within && short && !RESERVED.iter().any(|name| claims.custom.has(name))).then_some(claims)
}

fn text(all: &mut Members, name: &str) -> Option<String> {
    all.take(name)?.into_text()
}

/// A time or a number. Beyond 2^53 other readers see another number than we do.
fn whole(all: &mut Members, name: &str) -> Option<u64> {
    all.take(name)?.whole().filter(|number| *number < 1 << 53)
}

fn level(text: &str) -> Option<u8> {
    text.parse().ok().filter(|level| (1..=3).contains(level) && text.len() == 1)
}

fn seconds(seconds: u64) -> Millis {
    Millis(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000))
}

/// An object in the making.
struct Written(String);

impl Written {
    fn name(&mut self, name: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        write_text(name, &mut self.0);
        self.0.push(':');
    }
    fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        write_text(text, &mut self.0);
    }
    fn number(&mut self, name: &str, number: u64) {
        self.name(name);
        self.0.push_str(&number.to_string());
    }
    fn texts(&mut self, name: &str, texts: &[String]) {
        self.name(name);
        Json::List(texts.iter().cloned().map(Json::Text).collect()).write(&mut self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Bucket;

    fn claims() -> Claims {
        Claims {
            issuer: "handstamp:default/prd".to_owned(),
            audience: vec!["default/prd".to_owned()],
            subject: "ada \"x\"".to_owned(),
            session: SessionId::new(Millis(1_700_000_000_000), Bucket::new(7), [3; 9]),
            issued_at: 1_700_000_000,
            not_before: 1_700_000_000,
            expires_at: 1_700_000_300,
            id: "j1".to_owned(),
            tags: vec!["role:admin".to_owned()],
            groups: Vec::new(),
            methods: vec!["pwd".to_owned()],
            level: Some(2),
            authenticated_at: Millis(1_699_999_999_123),
            actor: Some("eve".to_owned()),
            epoch: 4,
            data: Some("a..b.c.d".to_owned()),
            status: Some((5, "https://a.example/v1/status-lists/0".to_owned())),
            custom: read_object(br#"{"plan":{"seats":[1,2.5]}}"#).unwrap(),
        }
    }
    #[test]
    fn claims_survive() {
        let all = claims();
        assert_eq!(Claims::read(all.write().as_bytes()).as_ref(), Ok(&all));
        let few = Claims {
            audience: vec!["a".to_owned(), "b".to_owned()],
            methods: Vec::new(),
            level: None,
            actor: None,
            data: None,
            status: None,
            custom: Members::default(),
            ..claims()
        };
        assert_eq!(Claims::read(few.write().as_bytes()).as_ref(), Ok(&few));
    }

    #[test]
    fn a_claim_of_a_wrong_kind_is_no_absent_claim() {
        let text = claims().write();
        for (from, to) in [
            (r#""exp":1700000300"#, r#""exp":"1700000300""#),
            (r#""exp":1700000300"#, r#""exp":1700000300.5"#),
            (r#""exp":1700000300"#, r#""exp":1.7e9"#),
            (r#""exp":1700000300"#, r#""exp":-1"#),
            (r#""exp":1700000300"#, r#""exp":null"#),
            (r#""exp":1700000300"#, r#""exp":9007199254740992"#),
            (r#""exp":1700000300"#, r#""exp":1700086401"#),
            (r#""exp":1700000300"#, r#""exp":1699999999"#),
            (r#""exp":1700000300,"#, ""),
            (r#""nbf":1700000000"#, r#""nbf":"1700000000""#),
            (r#""nbf":1700000000"#, r#""nbf":1700000301"#),
            (r#""nbf":1700000000,"#, ""),
            (r#""iat":1700000000"#, r#""iat":true"#),
            (r#""aud":"default/prd""#, r#""aud":[]"#),
            (r#""aud":"default/prd""#, r#""aud":[1]"#),
            (r#""aud":"default/prd""#, r#""aud":{}"#),
            (r#""aud":"default/prd","#, ""),
            (r#""tags":["role:admin"]"#, r#""tags":"role:admin""#),
            (r#""acr":"2""#, r#""acr":2"#),
            (r#""acr":"2""#, r#""acr":"4""#),
            (r#""acr":"2""#, r#""acr":"02""#),
            (r#""act":{"sub":"eve"}"#, r#""act":{}"#),
            (r#""act":{"sub":"eve"}"#, r#""act":"eve""#),
            (r#""epoch":4"#, r#""epoch":"4""#),
            (r#""auth_time":1699999999"#, r#""auth_time":1700000001"#),
            (r#""sid":"ses_"#, r#""sid":"xes_"#),
            (r#""data":"a..b.c.d""#, r#""data":{}"#),
            (r#""status":{"#, r#""status":[],"x":{"#),
            (r#""idx":5"#, r#""idx":-5"#),
            (r#""plan":"#, r#""cnf":"#),
            (r#""jti":"j1""#, r#""jti":"j1","jti":"j2""#),
        ] {
            assert!(text.contains(from), "{from}");
            assert_eq!(
                Claims::read(text.replacen(from, to, 1).as_bytes()),
                Err(Flaw::Claims),
                "{from} -> {to}"
            );
        }
        assert!(
            Claims::read(text.replace("1700000300", "1700086400").as_bytes()).is_ok(),
            "a day, and no more"
        );
    }
}
