//! A server of the test's own, an observatory or one of metrics, and requests to it, byte for byte.

use crate::support::Root;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Child;
use std::time::Duration;

/// The real program. It goes with its test.
pub(crate) struct Server {
    pub(crate) child: Child,
    /// What it printed.
    pub(crate) url: String,
    /// Where it listens, as `127.0.0.1:PORT`.
    pub(crate) address: String,
}

impl Server {
    pub(crate) fn observatory(root: &Root, more: &[&str]) -> Server {
        Server::start(root, "observatory", &[("--listen", "127.0.0.1:0"), ("--every", "50ms")], more)
    }

    pub(crate) fn metrics(root: &Root, more: &[&str]) -> Server {
        Server::start(root, "metrics", &[("--listen", "0")], more)
    }

    /// With these options, unless there are others.
    fn start(root: &Root, command: &str, usual: &[(&str, &str)], more: &[&str]) -> Server {
        let mut args = vec![command, "--json"];
        for (option, value) in usual {
            if !more.contains(option) {
                args.extend([option, value]);
            }
        }
        let mut child = root.spawn(args.iter().chain(more));
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("text");
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        let url = said["url"].as_str().expect("an address").to_owned();
        let address = url.split('/').nth(2).expect("an address").replace("0.0.0.0", "127.0.0.1");
        Server { child, url, address }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let connection = TcpStream::connect(&self.address).expect("it listens");
        connection.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
        connection
    }

    /// A connection on which a request has been written.
    fn ask(&self, first: &str, headers: &[(&str, &str)]) -> BufReader<TcpStream> {
        let mut connection = self.connect();
        let mut request = format!("{first} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| *name == "Host") {
            request += &format!("Host: {}\r\n", self.address);
        }
        headers.iter().for_each(|(name, value)| request += &format!("{name}: {value}\r\n"));
        connection.write_all((request + "\r\n").as_bytes()).expect("written");
        BufReader::new(connection)
    }

    /// The answer to a request.
    pub(crate) fn request(&self, first: &str, headers: &[(&str, &str)]) -> Answer {
        let headers: Vec<_> = headers.iter().copied().chain([("Connection", "close")]).collect();
        let mut connection = self.ask(first, &headers);
        let head = head(&mut connection);
        let mut body = String::new();
        connection.read_to_string(&mut body).expect("text");
        Answer { head, body }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.request(&format!("GET {path}"), &[])
    }

    /// A stream of events that nobody reads yet.
    pub(crate) fn events(&self) -> BufReader<TcpStream> {
        self.ask("GET /events", &[])
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) struct Answer {
    head: Vec<String>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.head[0].split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.iter().filter_map(|line| line.split_once(": "));
        lines.into_iter().find_map(|(known, value)| known.eq_ignore_ascii_case(name).then_some(value))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {:?} {}", self.head, self.body))
    }
}

/// The lines up to the empty one.
pub(crate) fn head(connection: &mut impl BufRead) -> Vec<String> {
    let lines = connection.lines().map(|line| line.expect("an answer"));
    lines.take_while(|line| !line.is_empty()).collect()
}

/// The next event of a stream: its name, and what it says. None when the stream has ended.
pub(crate) fn next_event(stream: &mut impl BufRead) -> Option<(String, Value)> {
    let mut name = String::new();
    for line in stream.lines() {
        let line = line.expect("an event");
        if let Some(word) = line.strip_prefix("event: ") {
            name = word.to_owned();
        } else if let Some(data) = line.strip_prefix("data: ") {
            return Some((name, serde_json::from_str(data).expect("JSON")));
        }
    }
    None
}
