//! A real browser without a window: Chromium, over the pipe of its debugging protocol, so that nothing but JSON is needed.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tempfile::TempDir;

/// Nothing takes this long; what does has hung.
const LONG: Duration = Duration::from_secs(60);

/// A browser with one page.
pub(crate) struct Browser {
    child: Child,
    ask: ChildStdin,
    answers: Receiver<Value>,
    asked: u64,
    session: Option<String>,
    /// What the page complained about.
    pub(crate) complaints: Vec<String>,
    /// Whether the connection may be lost, which is no reason to complain.
    pub(crate) may_lose: bool,
    /// What it asked for, from wherever.
    pub(crate) requests: Vec<String>,
    _profile: TempDir,
}

/// Where Chromium is; says so when it is nowhere.
pub(crate) fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found =
        std::env::split_paths(&path).flat_map(|dir| names.map(|name| dir.join(name))).find(|path| path.is_file());
    if found.is_none() {
        println!("skipped: there is no chromium on this machine, and the page is not looked at");
    }
    found
}

impl Browser {
    pub(crate) fn start(chromium: &Path) -> Browser {
        let profile = TempDir::new().expect("a directory");
        // It reads from descriptor 3 and writes to 4.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1"])
            .arg(chromium)
            .args(["--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-extensions"])
            .args(["--disable-dev-shm-usage", "--force-color-profile=srgb", "--hide-scrollbars"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("chromium runs");
        let ask = child.stdin.take().expect("a pipe");
        let mut heard = BufReader::new(child.stdout.take().expect("a pipe"));
        let (tell, answers) = channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while heard.read_until(0, &mut message).is_ok_and(|len| len > 0) {
                message.pop();
                let answer = serde_json::from_slice(&message).expect("JSON");
                if tell.send(answer).is_err() {
                    return;
                }
                message.clear();
            }
        });
        let (complaints, requests) = (Vec::new(), Vec::new());
        let mut browser = Browser {
            child,
            ask,
            answers,
            asked: 0,
            session: None,
            complaints,
            may_lose: false,
            requests,
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = Some(attached["sessionId"].as_str().expect("a session").to_owned());
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// A command of the protocol, and its answer.
    #[track_caller]
    pub(crate) fn call(&mut self, method: &str, params: Value) -> Value {
        self.asked += 1;
        let mut command = json!({ "id": self.asked, "method": method, "params": params });
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        let mut bytes = command.to_string().into_bytes();
        bytes.push(0);
        self.ask.write_all(&bytes).expect("chromium listens");
        loop {
            let mut answer = self.answers.recv_timeout(LONG).expect("chromium answers");
            if answer["id"] == self.asked {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].take();
            }
            self.note(&answer);
        }
    }

    fn note(&mut self, event: &Value) {
        let params = &event["params"];
        let is_bad = |word: &Value| ["error", "warning", "assert"].contains(&word.as_str().unwrap_or_default());
        match event["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" => {
                self.complaints.push(params["exceptionDetails"]["exception"]["description"].to_string())
            }
            "Runtime.consoleAPICalled" if is_bad(&params["type"]) => self.complaints.push(params["args"].to_string()),
            "Log.entryAdded" if self.may_lose && params["entry"]["source"] == "network" => {}
            "Log.entryAdded" if is_bad(&params["entry"]["level"]) => self.complaints.push(params["entry"].to_string()),
            "Network.requestWillBeSent" => {
                self.requests.push(params["request"]["url"].as_str().expect("an address").to_owned());
            }
            _ => {}
        }
    }

    pub(crate) fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url }));
    }

    /// What an expression gives in the page.
    #[track_caller]
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", params);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true in the page.
    #[track_caller]
    pub(crate) fn until(&mut self, expression: &str) {
        let began = std::time::Instant::now();
        while self.eval(&format!("!!({expression})")) != true {
            assert!(self.complaints.is_empty(), "{expression}: {:?}", self.complaints);
            if began.elapsed() > LONG {
                let seen = self.eval("document.body.innerText");
                panic!("never: {expression}; complaints {:?}; seen {seen}", self.complaints);
            }
            // Politeness, not timing: whatever its length, the answer is the same.
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn size(&mut self, width: u32, height: u32, mobile: bool) {
        let params = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
        self.call("Emulation.setDeviceMetricsOverride", params);
    }

    /// What the system is said to prefer: `light` or `dark`.
    pub(crate) fn prefer(&mut self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// A picture of the page, as PNG.
    pub(crate) fn picture(&mut self) -> Vec<u8> {
        use base64::Engine;
        let picture = self.call("Page.captureScreenshot", json!({ "format": "png", "optimizeForSpeed": false }));
        let text = picture["data"].as_str().expect("a picture");
        base64::prelude::BASE64_STANDARD.decode(text).expect("base64")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // What it has started goes with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
