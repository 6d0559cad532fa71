//! From the OpenAPI document to one readable page.

use handstamp_core::refusal::Code;
use serde_json::{Map, Value};

/// The style of all pages.
pub(super) const STYLE: &str = "\
:root { color-scheme: light dark; }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 62rem; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.9rem; margin: 0 0 .3rem; }
h2 { margin: 2.2rem 0 .6rem; border-bottom: 1px solid #8886; padding-bottom: .2rem; }
h3 { margin: 2rem 0 .3rem; font-size: 1.08rem; }
h4 { margin: 1rem 0 .2rem; font-size: .95rem; }
code, pre { font: .92em/1.5 ui-monospace, monospace; }
pre { background: #8881; border: 1px solid #8884; border-radius: .4rem; padding: .7rem; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: .3rem 0 .8rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #8883; }
th { font-weight: 600; }
.method { font-weight: 700; }
.lead { color: #777; margin-top: 0; }
nav ul { columns: 2; padding-left: 1rem; }
a { color: inherit; }
";

/// A page in the making.
pub(super) struct Page(String);

impl Page {
    pub(super) fn new(title: &str) -> Page {
        Page(format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{} - Handstamp</title>\
             <link rel=\"stylesheet\" href=\"/docs/style.css\"></head><body>\n",
            escape(title)
        ))
    }
    pub(super) fn push(&mut self, html: &str) {
        self.0.push_str(html);
        self.0.push('\n');
    }
    pub(super) fn end(mut self) -> String {
        self.push("</body></html>");
        self.0
    }
}

/// Text as text.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Text in which backquotes mean code.
pub(super) fn prose(text: &str) -> String {
    let mut html = String::new();
    for (at, part) in text.split('`').enumerate() {
        let part = escape(part);
        html.push_str(&if at % 2 == 1 { format!("<code>{part}</code>") } else { part });
    }
    html
}

/// All calls on one page.
pub(super) fn calls(document: &Value) -> String {
    let mut page = Page::new("All calls");
    page.push("<h1>Handstamp</h1>");
    let info = &document["info"];
    page.push(&format!(
        "<p class=\"lead\">Version {} &middot; <a href=\"/openapi.json\">OpenAPI document</a></p>",
        escape(text(&info["version"]))
    ));
    text(&info["description"]).split("\n\n").for_each(|part| page.push(&format!("<p>{}</p>", prose(part))));
    let tags: Vec<&Value> = document["tags"].as_array().into_iter().flatten().collect();
    page.push("<nav><ul>");
    for call in tags.iter().flat_map(|tag| operations(document, text(&tag["name"]))) {
        page.push(&format!("<li><a href=\"#{}\">{}</a></li>", call.id(), call.name()));
    }
    page.push("<li><a href=\"#codes\">All codes</a></li></ul></nav>");
    for tag in tags {
        let name = text(&tag["name"]);
        page.push(&format!("<h2>{}</h2><p>{}</p>", escape(name), prose(text(&tag["description"]))));
        operations(document, name).iter().for_each(|call| call.write(&mut page, document));
    }
    page.push(
        "<h2 id=\"codes\">All codes</h2><table><tr><th>code</th><th>status</th><th>what it means</th></tr>",
    );
    for code in Code::ALL {
        page.push(&format!(
            "<tr><td><a href=\"/docs/errors/{0}\"><code>{0}</code></a></td><td>{1}</td><td>{2}</td></tr>",
            code.text(),
            code.status(),
            prose(code.means())
        ));
    }
    page.push("</table>");
    page.end()
}

/// One call.
struct Call<'a> {
    method: String,
    path: &'a str,
    operation: &'a Map<String, Value>,
}

fn operations<'a>(document: &'a Value, tag: &str) -> Vec<Call<'a>> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let all = paths.flat_map(|(path, item)| {
        item.as_object().into_iter().flatten().filter_map(move |(method, operation)| {
            Some(Call { method: method.to_uppercase(), path, operation: operation.as_object()? })
        })
    });
    all.filter(|call| call.get("tags")[0] == tag).collect()
}

impl Call<'_> {
    fn get(&self, name: &str) -> &Value {
        self.operation.get(name).unwrap_or(&Value::Null)
    }
    fn id(&self) -> String {
        escape(text(self.get("operationId")))
    }
    fn name(&self) -> String {
        format!("<span class=\"method\">{}</span> <code>{}</code>", self.method, escape(self.path))
    }

    fn write(&self, page: &mut Page, document: &Value) {
        page.push(&format!("<h3 id=\"{}\">{}</h3>", self.id(), self.name()));
        page.push(&format!("<p>{}</p>", prose(text(self.get("summary")))));
        if self.get("description").is_string() {
            page.push(&format!("<p>{}</p>", prose(text(self.get("description")))));
        }
        let scopes = self.get("security")[0]["accessKey"].as_array();
        match scopes.map(|scopes| scopes.first().and_then(Value::as_str)) {
            Some(None) => page.push("<p>Needs an access key; for what, its description says.</p>"),
            None => page.push("<p>No access key needed.</p>"),
            Some(Some("operator")) => page.push("<p>Needs an operator's key.</p>"),
            Some(Some(scope)) => page.push(&format!("<p>Needs <code>{}</code>.</p>", escape(scope))),
        }
        let params: Vec<Row> =
            self.get("parameters").as_array().into_iter().flatten().map(Row::of_param).collect();
        table(page, "Parameters", &params);
        let body = resolve(document, &self.get("requestBody")["content"]["application/json"]["schema"]);
        if body.is_object() {
            table(page, "Body", &members(body));
            if let Some(example) = body.get("example") {
                page.push(&format!("<pre>{}</pre>", escape(&pretty(example))));
            }
        }
        self.answers(page, document);
    }

    fn answers(&self, page: &mut Page, document: &Value) {
        let Some(responses) = self.get("responses").as_object() else { return };
        for (status, response) in responses.iter().filter(|(status, _)| status.starts_with('2')) {
            page.push(&format!("<h4>{status}</h4><p>{}</p>", prose(text(&response["description"]))));
            let schema = resolve(document, &response["content"]["application/json"]["schema"]);
            let forms: Vec<&Value> =
                schema["oneOf"].as_array().map_or_else(|| vec![schema], |all| all.iter().collect());
            for form in forms {
                table(page, "", &members(resolve(document, form)));
            }
        }
        let refused = responses.iter().filter(|(status, _)| status.starts_with(['4', '5']));
        page.push("<h4>Refused</h4><table>");
        for (status, response) in refused {
            let codes = response["content"]["application/problem+json"]["examples"].as_object();
            let links: Vec<String> = codes
                .into_iter()
                .flatten()
                .map(|(code, _)| format!("<a href=\"/docs/errors/{0}\"><code>{0}</code></a>", escape(code)))
                .collect();
            page.push(&format!("<tr><td>{status}</td><td>{}</td></tr>", links.join(", ")));
        }
        page.push("</table>");
    }
}

/// A line of a table.
struct Row {
    name: String,
    kind: String,
    means: String,
}

impl Row {
    fn of_param(param: &Value) -> Row {
        Row {
            name: text(&param["name"]).to_owned(),
            kind: format!("{}, {}", text(&param["in"]), kind(&param["schema"])),
            means: text(&param["description"]).to_owned(),
        }
    }
}

fn table(page: &mut Page, heading: &str, rows: &[Row]) {
    if rows.is_empty() {
        return;
    }
    if !heading.is_empty() {
        page.push(&format!("<h4>{heading}</h4>"));
    }
    page.push("<table>");
    for row in rows {
        page.push(&format!(
            "<tr><td><code>{}</code></td><td>{}</td><td>{}</td></tr>",
            escape(&row.name),
            escape(&row.kind),
            prose(&row.means)
        ));
    }
    page.push("</table>");
}

/// The members of an object's schema, those that must be there first.
fn members(schema: &Value) -> Vec<Row> {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut rows: Vec<(bool, Row)> = schema["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, member)| {
            let must = required.contains(&name.as_str());
            let kind = kind(member);
            let kind = if must { kind } else { format!("{kind}, optional") };
            (must, Row { name: name.clone(), kind, means: text(&member["description"]).to_owned() })
        })
        .collect();
    rows.sort_by_key(|(must, _)| !must);
    rows.into_iter().map(|(_, row)| row).collect()
}

/// A type in a word or two.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str() {
        return name.rsplit('/').next().unwrap_or_default().to_owned();
    }
    if let Some(all) = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array()) {
        return all.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    match &schema["type"] {
        Value::Array(all) => all.iter().map(text).collect::<Vec<_>>().join(" or "),
        Value::String(one) if one == "array" => format!("list of {}", kind(&schema["items"])),
        Value::String(one) => {
            schema["format"].as_str().map_or_else(|| one.clone(), |format| format!("{one} ({format})"))
        }
        _ => "any JSON".to_owned(),
    }
}

fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let target = schema["$ref"].as_str().and_then(|name| name.strip_prefix('#'));
    target.and_then(|at| document.pointer(at)).unwrap_or(schema)
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
