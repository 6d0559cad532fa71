//! Documents: links lead somewhere, and every decision is in the list of decisions.

use super::{Text, clean, finds, root, texts};

/// The targets of the links of a document, outside of code.
fn links(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for line in prose(text) {
        for (n, part) in line.split('`').enumerate() {
            // A link around code, such as [`x`](y), still has its target outside of the ticks.
            if n % 2 == 0 {
                let starts = part.match_indices("](").map(|(at, _)| &part[at + 2..]);
                found.extend(starts.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target));
            }
        }
    }
    found
}

/// The lines of a document that are no code block.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

/// The anchors of a document: its headings, as they are linked to.
fn anchors(text: &str) -> Vec<String> {
    let heading =
        |line: &str| line.starts_with('#').then(|| line.trim_start_matches('#').trim().to_lowercase());
    let slug = |title: String| {
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    prose(text).filter_map(heading).map(slug).collect()
}

/// Joins a link to the folder of its document, from the root.
fn target(of: &str, link: &str) -> String {
    let mut parts: Vec<&str> = of.split('/').collect();
    parts.pop();
    for step in link.split('/') {
        match step {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

fn dead(documents: &[Text], exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut problems = Vec::new();
    for document in documents {
        for link in links(&document.text)
            .into_iter()
            .filter(|link| !link.contains("://") && !link.starts_with("mailto:"))
        {
            let (path, anchor) =
                link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
            let path = if path.is_empty() { document.path.clone() } else { target(&document.path, path) };
            let there = documents.iter().find(|d| d.path == path);
            if there.is_none() && !exists(&path) {
                problems.push(format!("{}: the link to {link} leads nowhere", document.path));
            } else if let (Some(anchor), Some(there)) = (anchor, there)
                && !anchors(&there.text).iter().any(|known| known == anchor)
            {
                problems.push(format!("{}: {path} has no heading #{anchor}", document.path));
            }
        }
    }
    problems
}

/// Decisions are numbered without gaps, and each is in the list.
fn decisions(documents: &[Text]) -> Vec<String> {
    const FOLDER: &str = "docs/decisions/";
    let list = documents.iter().find(|d| d.path == format!("{FOLDER}README.md")).map_or("", |d| &d.text);
    let listed = links(list);
    let names =
        documents.iter().filter_map(|d| d.path.strip_prefix(FOLDER)).filter(|name| *name != "README.md");
    let mut problems = Vec::new();
    for (at, name) in names.enumerate() {
        if !name.starts_with(&format!("{:04}-", at + 1)) {
            problems.push(format!("{FOLDER}{name}: the next number is {:04}", at + 1));
        }
        if !listed.contains(&name) {
            problems.push(format!("{FOLDER}{name}: is not linked from {FOLDER}README.md"));
        }
    }
    problems
}

#[test]
fn links_lead_somewhere() {
    clean(&dead(&texts(&[".md"]), |path| root().join(path).exists()));
    let documents = [
        Text::new(
            "README.md",
            "# Top\n[a](docs/a.md#how-it-goes) [`b`](../x) [c](https://example.org/) `[d](e)`\n",
        ),
        Text::new(
            "docs/a.md",
            "## How it goes\n```\n# no heading\n[f](g)\n```\n[up](../README.md) [here](#how-it-goes)\n",
        ),
    ];
    clean(&dead(&documents, |path| path == "x"));
    finds(&dead(&documents, |_| false), "../x");
    let wrong = [Text::new("a.md", "# Top\n[x](#bottom)")];
    finds(&dead(&wrong, |_| false), "#bottom");
}

#[test]
fn decisions_are_listed() {
    clean(&decisions(&texts(&[".md"])));
    let list = Text::new("docs/decisions/README.md", "[one](0001-one.md)");
    let (one, two) =
        (Text::new("docs/decisions/0001-one.md", ""), Text::new("docs/decisions/0003-two.md", ""));
    clean(&decisions(&[list, one]));
    let list = Text::new("docs/decisions/README.md", "[two](0003-two.md)");
    finds(&decisions(&[list, two]), "the next number is 0001");
    finds(&decisions(&[Text::new("docs/decisions/0001-one.md", "")]), "not linked");
}
