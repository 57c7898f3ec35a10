//! A broker of the test's own, and a client.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Nothing here takes this long, milliseconds; what does has hung.
pub(crate) const LONG_MS: u64 = 30_000;

/// The real program, with a directory of its own.
pub(crate) struct Broker {
    child: Child,
    address: String,
    arguments: Vec<String>,
    dir: TempDir,
    client: ureq::Agent,
}

/// What was answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {} {:?}", self.status, self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> String {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone()).unwrap_or_else(|| panic!("no {name}: {} {}", self.status, self.text()))
    }

    pub(crate) fn ticket(&self) -> String {
        self.json()["ticket"].as_str().unwrap().to_owned()
    }
}

fn start(dir: &TempDir, arguments: &[String]) -> (Child, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_laneway-broker"))
        .args(["--listen", "127.0.0.1:0", "--root"])
        .arg(dir.path().join("post"))
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening at http://").unwrap_or_else(|| panic!("{line:?}")).to_owned();
    (child, address)
}

impl Broker {
    pub(crate) fn start(arguments: &[&str]) -> Broker {
        let dir = tempfile::tempdir().unwrap();
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let (child, address) = start(&dir, &arguments);
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_millis(2 * LONG_MS)));
        Broker { child, address, arguments, dir, client: config.build().into() }
    }

    pub(crate) fn kill_and_start_again(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        (self.child, self.address) = start(&self.dir, &self.arguments);
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("post")
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn post(&self, path: &str, body: &[u8]) -> Answer {
        answer(self.client.post(self.url(path)).send(body))
    }

    pub(crate) fn send_as(&self, path: &str, content: &str, body: &[u8]) -> Answer {
        answer(self.client.post(self.url(path)).header("content-type", content).send(body))
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        answer(self.client.get(self.url(path)).call())
    }

    pub(crate) fn with_header(&self, name: &str, value: &str) -> Answer {
        answer(self.client.get(self.url("/agents")).header(name, value).call())
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        answer(self.client.delete(self.url(path)).call())
    }

    /// A stream that goes on.
    pub(crate) fn open(&self, path: &str) -> impl Read + use<> {
        self.client.get(self.url(path)).call().unwrap().into_body().into_reader()
    }

    /// A request line that no client would send.
    pub(crate) fn raw(&self, line: &str) -> Answer {
        let mut socket = TcpStream::connect(&self.address).unwrap();
        write!(socket, "{line} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx")
            .unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).unwrap();
        let text = String::from_utf8(answer).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, headers: Vec::new(), body: body.as_bytes().to_vec() }
    }

    pub(crate) fn state(&self, ticket: &str) -> String {
        self.get(&format!("/tickets/{ticket}")).json()["state"].as_str().unwrap().to_owned()
    }
}

fn answer(result: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer {
    let mut response = result.unwrap();
    let text = |value: &ureq::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = response.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    Answer { status: response.status().into(), headers, body: response.body_mut().read_to_vec().unwrap() }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks until there is an answer.
pub(crate) fn until<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_millis(LONG_MS);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "it never came");
        std::thread::yield_now();
    }
}
