//! A tiny real HTTP server: answers in the order it was told, and keeps what it was asked.

use serde_json::Value as Json;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

pub(super) struct Server {
    address: SocketAddr,
    https: bool,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    answers: Mutex<VecDeque<Answer>>,
    asked: Mutex<Vec<Asked>>,
    /// What is answered when no answer is left.
    always: Option<fn(&str) -> Answer>,
    tls: Option<Arc<rustls::ServerConfig>>,
}

/// What was asked.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// The port that the client spoke from: another one is another connection.
    pub(super) from: u16,
    /// `GET /v1/keys`
    pub(super) line: String,
    /// In lower case, one a line.
    pub(super) headers: String,
    pub(super) body: Json,
}

#[derive(Clone)]
pub(super) enum Answer {
    Json(u16, Json),
    Text(u16, &'static str),
    /// As 200, and the connection is closed afterwards.
    Closing(Json),
    /// Reads the request and says nothing.
    Silence,
}

pub(super) fn ok(body: Json) -> Answer {
    Answer::Json(200, body)
}

impl Server {
    pub(super) fn start(answers: impl IntoIterator<Item = Answer>) -> Server {
        Server::with(answers, None)
    }

    pub(super) fn with(
        answers: impl IntoIterator<Item = Answer>,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Server {
        let answers = Mutex::new(answers.into_iter().collect());
        Server::of(State { answers, tls, ..State::default() })
    }

    /// Answers by `METHOD path`, as often as it is asked.
    pub(super) fn always(always: fn(&str) -> Answer) -> Server {
        Server::of(State { always: Some(always), ..State::default() })
    }

    fn of(state: State) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let https = state.tls.is_some();
        let state = Arc::new(state);
        let shared = Arc::clone(&state);
        // Ends with the process: it waits in `accept` until then.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || state.accept(stream.unwrap()));
            }
        });
        Server { address, https, state }
    }

    pub(super) fn url(&self) -> String {
        format!("{}://{}", if self.https { "https" } else { "http" }, self.address)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything that was asked; all answers were used.
    pub(super) fn asked(&self) -> Vec<Asked> {
        assert_eq!(self.state.answers.lock().unwrap().len(), 0, "answers are left");
        self.state.asked.lock().unwrap().clone()
    }

    /// The same as `METHOD path body`.
    pub(super) fn lines(&self) -> Vec<String> {
        let line = |one: &Asked| match &one.body {
            Json::Null => one.line.clone(),
            body => format!("{} {body}", one.line),
        };
        self.asked().iter().map(line).collect()
    }
}

impl State {
    fn accept(&self, stream: TcpStream) {
        let from = stream.peer_addr().unwrap().port();
        match &self.tls {
            None => {
                let writer = stream.try_clone().unwrap();
                self.serve(from, &mut BufReader::new(stream), writer);
            }
            Some(config) => {
                let connection = rustls::ServerConnection::new(Arc::clone(config)).unwrap();
                let mut both = rustls::StreamOwned::new(connection, stream);
                while let Some(answer) = self.read(from, &mut Bytewise(&mut both)) {
                    let _ = both.write_all(answer.as_bytes());
                    let _ = both.flush();
                }
            }
        }
    }

    fn serve(&self, from: u16, reader: &mut impl BufRead, mut writer: TcpStream) {
        while let Some(answer) = self.read(from, reader) {
            if writer.write_all(answer.as_bytes()).is_err() || answer.contains("connection: close") {
                return;
            }
        }
    }

    /// The answer to the next request; none when the client has gone, or is to be left waiting until it goes.
    fn read(&self, from: u16, reader: &mut impl BufRead) -> Option<String> {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let mut headers = String::new();
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).ok()?;
            if header.trim().is_empty() {
                break;
            }
            headers.push_str(&header.to_ascii_lowercase());
        }
        let length = headers
            .lines()
            .find_map(|h| h.strip_prefix("content-length: "))
            .map_or(0, |n| n.parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let line = line.trim().trim_end_matches(" HTTP/1.1").to_owned();
        let body = serde_json::from_slice(&body).unwrap_or(Json::Null);
        let next = self.answers.lock().unwrap().pop_front();
        let always = || self.always.map(|always| always(&line));
        let answer = next.or_else(always).unwrap_or(Answer::Text(599, "no answer is left"));
        self.asked.lock().unwrap().push(Asked { from, line, headers, body });
        let (status, kind, text, close) = match answer {
            Answer::Json(status, Json::Null) => (status, "application/json", String::new(), ""),
            Answer::Json(status, body) => (status, "application/problem+json", body.to_string(), ""),
            Answer::Text(status, text) => (status, "text/html", text.to_owned(), ""),
            Answer::Closing(body) => (200, "application/json", body.to_string(), "connection: close\r\n"),
            Answer::Silence => {
                let _ = reader.read_line(&mut String::new());
                return None;
            }
        };
        Some(format!(
            "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n{close}\r\n{text}",
            text.len()
        ))
    }
}

/// `read_line` over a stream that is written to as well.
struct Bytewise<'a, S>(&'a mut S);

impl<S: Read> Read for Bytewise<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<S: Read> BufRead for Bytewise<'_, S> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        unreachable!("lines are read byte by byte")
    }
    fn consume(&mut self, _: usize) {}
    fn read_line(&mut self, line: &mut String) -> std::io::Result<usize> {
        let before = line.len();
        let mut byte = [0];
        while self.0.read(&mut byte)? == 1 {
            line.push(char::from(byte[0]));
            if byte[0] == b'\n' {
                break;
            }
        }
        Ok(line.len() - before)
    }
}
