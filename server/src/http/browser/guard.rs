//! May this request change anything? A browser sends the cookie whoever's page asks; so the page must be one of the
//! application's: by what the browser says of it, then by a token that only such pages know.

use super::super::Web;
use super::super::problem::Problem;
use super::visit::{Bearer, Visit};
use handstamp_core::origin::{self, Asked, Said, Site, Vouched};
use handstamp_core::refusal::Refusal;
use handstamp_core::time::Span;
use http::{HeaderName, header};

/// What stands in for the CSRF header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Instead {
    /// Nothing.
    Nothing,
    /// The browser's own word that the page is of an allowed origin on this site: enough to end or extend one's own
    /// session.
    Vouched,
}

pub(in super::super) const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Lets a request go on that changes something. Nothing has changed before this.
///
/// # Errors
/// `origin_not_allowed`; `csrf_token_invalid` with a cookie that is right; faults.
pub(in super::super) async fn may_change(web: &Web, visit: &Visit, instead: Instead) -> Result<(), Problem> {
    // A header that scripts must set, with a token that only the app knows, or a key that no browser has: no page of
    // somebody else's can send that.
    if visit.bearer != Bearer::Cookie {
        return Ok(());
    }
    let vouched = judge_origin(visit).map_err(|refusal| Problem::of_browser(&refusal))?;
    let held = async |strong| web.app.holder(&visit.env, &visit.token, &visit.tab, strong).await;
    let Some(mut holder) = held(false).await? else { return Ok(()) };
    let header = visit.headers.get(&web.cookie.csrf_header);
    let presented = header.and_then(|value| value.to_str().ok());
    let excused = header.is_none() && instead == Instead::Vouched && vouched.instead_of_token;
    let mut judged = web.app.judge_csrf(holder, presented);
    if judged.is_err() && !excused && web.app.has_others() {
        // The user may have authenticated again a moment ago, by another node: then the token is good, and so must be the one
        // that is given instead of a wrong one.
        let Some(now) = held(true).await? else { return Ok(()) };
        holder = now;
        judged = web.app.judge_csrf(holder, presented);
    }
    match judged {
        Ok(()) => Ok(()),
        Err(_) if excused => Ok(()),
        Err(refusal) => {
            let ((token, _), now) = (web.app.csrf_token(holder, visit.csrf_cookie(web))?, web.app.now());
            let cookie = web.cookie.csrf(&token, now.plus(FRESH), now);
            Err(Problem::of_browser(&refusal).with(header::SET_COOKIE, cookie))
        }
    }
}

fn judge_origin(visit: &Visit) -> Result<Vouched, Refusal> {
    let all = |name| visit.headers.get_all(name).iter().map(http::HeaderValue::as_bytes);
    let asked = Asked {
        safe: false,
        site: Site::read(all(SITE)),
        origin: Said::read(all(header::ORIGIN)),
        host: visit.host.as_deref(),
    };
    origin::judge(&asked, &visit.env.origins.cors)
}

/// How long a cookie stays that is set beside a refusal: the session's next answer sets it for as long as the session's.
const FRESH: Span = Span::days(1);
