//! A stream of server-sent events, cut into what belongs together.

/// No event is near this: an entry is some hundred bytes.
const LONGEST: usize = 1 << 20;

/// One event.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Event {
    /// What kind of event; empty when it does not say.
    pub(crate) kind: String,
    /// Where in the stream it is, when it says so.
    pub(crate) id: Option<String>,
    /// What it says.
    pub(crate) data: String,
}

/// Bytes on their way to being events.
#[derive(Default)]
pub(crate) struct Events {
    part: Vec<u8>,
}

impl Events {
    /// Takes bytes, and gives the events that they complete. `None`: an event without an end, or no text.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Option<Vec<Event>> {
        self.part.extend_from_slice(bytes);
        let mut all = Vec::new();
        let mut done = 0;
        let mut event = Event::default();
        let mut at = 0;
        while let Some(length) = self.part.get(at..)?.iter().position(|byte| *byte == b'\n') {
            let line = self.part.get(at..at + length)?;
            let line = std::str::from_utf8(line.strip_suffix(b"\r").unwrap_or(line)).ok()?;
            at += length + 1;
            if !line.is_empty() {
                event.line(line);
                continue;
            }
            done = at;
            let whole = std::mem::take(&mut event);
            if whole != Event::default() {
                all.push(whole);
            }
        }
        self.part.drain(..done);
        (self.part.len() <= LONGEST).then_some(all)
    }
}

impl Event {
    fn line(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut self.kind),
            "id" => self.id = Some(value.to_owned()),
            "data" => {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            // A comment, a time to wait, or what later servers may say.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, id: Option<&str>, data: &str) -> Event {
        Event { kind: kind.to_owned(), id: id.map(str::to_owned), data: data.to_owned() }
    }

    #[test]
    fn events_are_the_same_however_they_are_cut() {
        let text = ": hello\n\nid: 7-a\ndata: {\"a\":1}\n\nevent: reset\r\ndata:x\r\ndata: y\r\n\r\nretry: 5\n\ndata: é\n\nid: 8";
        let all =
            vec![event("", Some("7-a"), "{\"a\":1}"), event("reset", None, "x\ny"), event("", None, "é")];
        for size in [1, 2, 3, 7, 1_000] {
            let mut events = Events::default();
            let got: Vec<Event> =
                text.as_bytes().chunks(size).flat_map(|bytes| events.take(bytes).unwrap()).collect();
            assert_eq!(got, all, "cut at {size}: what is not whole is not told");
        }
    }

    #[test]
    fn what_has_no_end_or_is_no_text_is_not_read() {
        let mut events = Events::default();
        assert!(events.take(&vec![b'x'; LONGEST]).is_some());
        assert!(events.take(b"x").is_none());
        assert!(Events::default().take(b"data: \xff\n\n").is_none());
    }
}
