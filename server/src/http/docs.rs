//! Pages for people, made of the OpenAPI document and the closed list of codes: all calls on one page, and a page for
//! each code. They load nothing from anywhere else, run no script, and may not be framed.

use super::Web;
use super::input::At;
use super::openapi;
use super::problem::{Answer, Problem};
use super::reply::{document, json};
use super::routes::{Route, table};
use axum::body::Body;
use axum::extract::State;
use handstamp_core::refusal::Code;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use std::sync::Arc;

mod page;

use page::{Page, escape};

/// Pages take their one style sheet from this server, and nothing else from anywhere.
const CSP: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// What a code means.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ErrorPage {
    /// The code.
    #[schema(value_type = openapi::CodeList)]
    code: &'static str,
    /// A few words.
    title: &'static str,
    /// The HTTP status that goes with it.
    status: u16,
    /// What it means.
    means: &'static str,
    /// What to do.
    remedy: &'static str,
    /// Where it is met.
    met: Vec<String>,
}

/// The OpenAPI 3.1 document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "documentation", operation_id = "openapi",
    responses((status = 200, description = "The document.", body = serde_json::Value))
)]
pub async fn openapi(State(web): State<Arc<Web>>) -> Answer {
    Ok(document("application/json", openapi::text(web.described())))
}

/// All calls on one page.
#[utoipa::path(
    get, path = "/docs", tag = "documentation", operation_id = "docs",
    responses((status = 200, description = "The page.", body = String, content_type = "text/html"))
)]
pub async fn calls(State(web): State<Arc<Web>>) -> Answer {
    Ok(html(page::calls(web.described())))
}

/// How the pages look.
#[utoipa::path(
    get, path = "/docs/style.css", tag = "documentation", operation_id = "docs_style",
    responses((status = 200, description = "The style sheet.", body = String, content_type = "text/css"))
)]
pub async fn style() -> Answer {
    Ok(document("text/css; charset=utf-8", page::STYLE))
}

/// What a code means and what to do; as JSON for those who accept only that.
#[utoipa::path(
    get, path = "/docs/errors/{code}", tag = "documentation", operation_id = "docs_error",
    params(("code" = String, Path, description = "One of the closed list.")),
    responses((status = 200, description = "The page.", content(
        (String = "text/html"),
        (ErrorPage = "application/json")
    )))
)]
pub async fn error(At(code): At<String>, headers: HeaderMap) -> Answer {
    let code = Code::parse(&code)
        .ok_or_else(|| Problem::new(Code::NotFound, "there is no such code; /docs lists all of them"))?;
    let page = ErrorPage {
        code: code.text(),
        title: code.title(),
        status: code.status(),
        means: code.means(),
        remedy: code.remedy(),
        met: met(code),
    };
    Ok(if wants_json(&headers) { json(StatusCode::OK, &page) } else { html(of(&page)) })
}

/// JSON only when it is named and HTML is not: who says nothing is a person.
fn wants_json(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let kinds: Vec<String> = accepts
        .flat_map(|text| text.split(','))
        .filter_map(|one| Some(one.split(';').next()?.trim().to_ascii_lowercase()))
        .collect();
    let json = |kind: &String| kind == "application/json" || kind.ends_with("+json");
    kinds.iter().any(json) && !kinds.iter().any(|kind| kind == "text/html")
}

/// Where a code is met: in verdicts, at the edge, at any address, in calls.
fn met(code: Code) -> Vec<String> {
    let mut places = Vec::new();
    if Code::VERDICTS.contains(&code) {
        places.push(
            "The verdict of POST /v1/sessions/validate and POST /v1/sessions/validate-batch".to_owned(),
        );
    }
    if Code::ENDINGS.contains(&code) {
        places.push("How a session ended: `ended.code` of a session, `code` of its last event".to_owned());
    }
    if Code::EDGE.contains(&code) {
        places.push(
            "The network edge, before any call has seen the request; the connection is ended".to_owned(),
        );
    }
    if matches!(code, Code::NotFound | Code::MethodNotAllowed) {
        places.push("Any address".to_owned());
    }
    let calls = table();
    let of = |route: &&Route| route.refusals.contains(&code);
    places.extend(calls.iter().filter(of).map(|route| format!("{} {}", route.method, route.path)));
    if places.is_empty() {
        places.push("Nowhere in this version: the code is kept for what comes".to_owned());
    }
    places
}

fn of(page: &ErrorPage) -> String {
    let mut html = Page::new(page.code);
    html.push("<p><a href=\"/docs\">All calls and codes</a></p>");
    html.push(&format!("<h1><code>{}</code></h1>", page.code));
    html.push(&format!("<p class=\"lead\">{} &middot; HTTP {}</p>", escape(page.title), page.status));
    for (heading, text) in [("What it means", page.means), ("What to do", page.remedy)] {
        html.push(&format!("<h2>{heading}</h2><p>{}</p>", page::prose(text)));
    }
    html.push("<h2>Where it is met</h2><ul>");
    page.met.iter().for_each(|place| html.push(&format!("<li>{}</li>", page::prose(place))));
    html.push("</ul>");
    html.end()
}

fn html(text: String) -> Response<Body> {
    let mut response = document("text/html; charset=utf-8", text);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, CSP);
    response
}
