//! Client hints in a body: each by the name of its header with the value of the header, or by a short name with the plain
//! value, as a script in the browser has it.

use super::problem::Problem;
use handstamp_core::agent::hints::{self, Hints, LONGEST, NotOne};
use serde::Deserialize;

/// What a browser says beside its user agent (User-Agent Client Hints).
///
/// Under the name of a header goes the value of the header, byte for byte; under a short name the plain value.
#[derive(Deserialize, Default, Clone, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "sec-ch-ua-platform": "\"Windows\"", "sec-ch-ua-platform-version": "\"15.0.0\"", "sec-ch-ua-mobile": "?0"
}))]
pub struct ClientHints {
    /// `"Chromium";v="128", "Not;A=Brand";v="24"`.
    #[serde(rename = "sec-ch-ua")]
    sec_ua: Option<String>,
    /// `"Windows"`.
    #[serde(rename = "sec-ch-ua-platform")]
    sec_platform: Option<String>,
    /// `"15.0.0"`.
    #[serde(rename = "sec-ch-ua-platform-version")]
    sec_platform_version: Option<String>,
    /// `?0` or `?1`.
    #[serde(rename = "sec-ch-ua-mobile")]
    sec_mobile: Option<String>,
    /// `"Pixel 8"`.
    #[serde(rename = "sec-ch-ua-model")]
    sec_model: Option<String>,
    /// As `sec-ch-ua`.
    ua: Option<String>,
    /// `Windows`.
    platform: Option<String>,
    /// `15.0.0`.
    platform_version: Option<String>,
    /// Whether the browser would rather have pages for phones.
    mobile: Option<bool>,
    /// `Pixel 8`.
    model: Option<String>,
}

impl ClientHints {
    /// Checks every value; `at` is where the hints lie in the body.
    ///
    /// # Errors
    /// `invalid_request`, with a JSON pointer to the place.
    pub fn read(self, at: &str) -> Result<Hints, Problem> {
        let field = |name: &'static str| move |what: &str| Problem::field(format!("{at}/{name}"), what);
        let text = |header: Option<String>,
                    long: &'static str,
                    plain: Option<String>,
                    short: &'static str| match (header, plain) {
            (Some(_), Some(_)) => Err(field(short)("is there twice, by its long and by its short name")),
            (Some(header), None) => hints::string(&header).map(Some).map_err(|NotOne| {
                field(long)("not a string of a structured field: send it as it came, with its quotes")
            }),
            (None, Some(plain)) if plain.len() > LONGEST => Err(field(short)("too long")),
            (None, plain) => Ok(plain.map(Into::into)),
        };
        let brands = match (self.sec_ua, self.ua) {
            (Some(_), Some(_)) => {
                return Err(field("ua")("is there twice, by its long and by its short name"));
            }
            (Some(list), None) => (list, "sec-ch-ua"),
            (None, list) => (list.unwrap_or_default(), "ua"),
        };
        let mobile = match (self.sec_mobile, self.mobile) {
            (Some(_), Some(_)) => {
                return Err(field("mobile")("is there twice, by its long and by its short name"));
            }
            (Some(header), None) => Some(hints::boolean(&header).map_err(|NotOne| {
                field("sec-ch-ua-mobile")("not a boolean of a structured field: ?0 or ?1")
            })?),
            (None, mobile) => mobile,
        };
        Ok(Hints {
            brands: hints::brands(&brands.0).map_err(|NotOne| {
                field(brands.1)("not a list of brands: send it as it came, such as \"Chromium\";v=\"128\"")
            })?,
            platform: text(self.sec_platform, "sec-ch-ua-platform", self.platform, "platform")?,
            platform_version: text(
                self.sec_platform_version,
                "sec-ch-ua-platform-version",
                self.platform_version,
                "platform_version",
            )?,
            mobile,
            model: text(self.sec_model, "sec-ch-ua-model", self.model, "model")?,
        })
    }
}
