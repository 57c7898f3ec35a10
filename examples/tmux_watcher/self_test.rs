//! The watcher against a real tmux: a server of its own, panes with real programs, watchers that are processes.

use crate::tmux::Tmux;
use laneway::mailbox::{Mailbox, Post, Reason, State, Ticket};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};

/// Nothing here takes this long; what does has hung.
const LONG: Duration = Duration::from_secs(60);

/// Everything of the test, which goes with it.
struct Scene {
    tmux: Tmux,
    socket: String,
    dir: PathBuf,
    watchers: Vec<Child>,
}

pub(crate) fn run() -> Result<ExitCode, Box<dyn Error>> {
    if Command::new("tmux").arg("-V").output().is_err() {
        println!("skipped: tmux is not installed");
        return Ok(ExitCode::SUCCESS);
    }
    let name = format!("laneway-test-{}", std::process::id());
    let dir = std::env::temp_dir().join(&name);
    fs::create_dir(&dir)?;
    let tmux = Tmux::new(Some(name.clone()));
    let mut scene = Scene { tmux, socket: name, dir, watchers: Vec::new() };
    scene.messages_arrive_whole_and_in_order()?;
    scene.a_shell_runs_what_it_is_sent()?;
    scene.a_pane_that_is_gone_loses_nothing()?;
    Ok(ExitCode::SUCCESS)
}

impl Drop for Scene {
    fn drop(&mut self) {
        for watcher in &mut self.watchers {
            let _ = watcher.kill();
            let _ = watcher.wait();
        }
        let _ = self.tmux.run(&["kill-server"], b"");
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Reads lines and writes them to a file, byte for byte.
const READER: &str = r#"while printf 'ready> ' && IFS= read -r line; do printf '%s\n' "$line" >> "$0"; done"#;

impl Scene {
    fn post(&self) -> Post {
        Post::open(self.dir.join("post"))
    }

    /// A pane in which this runs.
    fn start(&self, session: &str, program: &[&str]) -> Result<(), Box<dyn Error>> {
        let mut command = vec!["-f", "/dev/null", "new-session", "-d", "-s", session, "-x", "100", "-y", "30", "--"];
        command.extend(program);
        self.tmux.run(&command, b"")?;
        Ok(())
    }

    fn watcher(&self, agent: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("we are running"));
        command.args(["--agent", agent, "--pane", &format!("{agent}:"), "--socket", &self.socket, "--poll-ms", "10"]);
        command.arg("--root").arg(self.dir.join("post"));
        command
    }

    fn watch(&mut self, agent: &str) -> Result<(), Box<dyn Error>> {
        let watcher = self.watcher(agent).spawn()?;
        self.watchers.push(watcher);
        Ok(())
    }

    fn messages_arrive_whole_and_in_order(&mut self) -> Result<(), Box<dyn Error>> {
        let received = self.dir.join("received");
        let mut reader = self.post().mailbox("reader")?;
        let long = "long ".repeat(700);
        let bodies = [
            "before anybody watches",
            "it's \"quoted\" `twice` \\ and $HOME, #{pane_id} and %s; ; -t",
            "- a dash first",
            "",
            "several\nlines\n\nand\tthe last;",
            "über 数 🦀",
            &long,
        ];
        let first = reader.send(bodies[0].as_bytes())?;
        let escape = reader.send(b"\x1b[201~rm -rf /\r")?;
        self.start("reader", &["sh", "-c", READER, text(&received)])?;
        self.watch("reader")?;
        let mut tickets = vec![first];
        for body in &bodies[1..] {
            tickets.push(reader.send(body.as_bytes())?);
        }
        let mut expected: String = bodies.map(|body| format!("{body}\n")).concat();
        for number in 0..20 {
            let body = format!("message {number}");
            tickets.push(reader.send(body.as_bytes())?);
            expected += &format!("{body}\n");
        }
        self.all_acked(&mut reader, &tickets)?;
        until(
            || fs::read_to_string(&received).is_ok_and(|found| found == expected),
            || format!("the pane read {:?} in place of {expected:?}", fs::read_to_string(&received)),
        );
        let refused = reader.status(&escape)?;
        assert_eq!((refused.state, refused.reason), (State::Failed, Reason::Rejected), "an escape was typed");
        println!("{} messages arrived whole and in order, and one that was keys was refused", tickets.len());

        let second = self.watcher("reader").output()?;
        let said = String::from_utf8_lossy(&second.stderr).into_owned();
        assert!(!second.status.success() && said.contains("already"), "a second watcher said {said:?}");
        println!("a second watcher of the pane was refused");
        Ok(())
    }

    fn a_shell_runs_what_it_is_sent(&mut self) -> Result<(), Box<dyn Error>> {
        let out = self.dir.join("out");
        self.start("shell", &["env", "ENV=", "PS1=$ ", "sh", "-i"])?;
        let mut shell = self.post().mailbox("shell")?;
        let tickets = [
            shell.send(format!("out='{}'", text(&out)).as_bytes())?,
            shell.send(br#"printf '%s\n' "it's" '"quoted"' > "$out""#)?,
            shell.send(b"for number in 1 2 3; do\n  echo \"line $number\" >> \"$out\"\ndone")?,
            shell.send(format!("tmux -L {} wait-for -S done", self.socket).as_bytes())?,
        ];
        self.watch("shell")?;
        self.all_acked(&mut shell, &tickets)?;
        // The shell itself says when it has done the last of them.
        let done = Command::new("timeout").args(["60", "tmux", "-L", &self.socket, "wait-for", "done"]).status()?;
        assert!(done.success(), "the shell did not come to its last command");
        assert_eq!(fs::read_to_string(&out)?, "it's\n\"quoted\"\nline 1\nline 2\nline 3\n");
        println!("a shell ran what it was sent, over several lines");
        Ok(())
    }

    fn a_pane_that_is_gone_loses_nothing(&mut self) -> Result<(), Box<dyn Error>> {
        let received = self.dir.join("later");
        self.tmux.run(&["kill-session", "-t", "reader"], b"")?;
        let mut reader = self.post().mailbox("reader")?;
        let ticket = reader.send(b"is anybody there?")?;
        let watcher = self.watchers.remove(0).wait()?;
        assert_eq!(watcher.code(), Some(3), "the watcher did not notice that its pane is gone");
        let status = reader.status(&ticket)?;
        assert_eq!((status.state, status.reason, status.attempts), (State::Pending, Reason::Retry, 1));
        self.start("reader", &["sh", "-c", READER, text(&received)])?;
        self.watch("reader")?;
        self.all_acked(&mut reader, &[ticket])?;
        until(
            || fs::read_to_string(&received).is_ok_and(|found| found == "is anybody there?\n"),
            || format!("the pane read {:?}", fs::read_to_string(&received)),
        );
        assert_eq!(reader.status(&ticket)?.attempts, 2);
        println!("a message for a pane that was gone was typed into the next one");
        Ok(())
    }

    fn all_acked(&self, mailbox: &mut Mailbox, tickets: &[Ticket]) -> Result<(), Box<dyn Error>> {
        for ticket in tickets {
            let status = mailbox.wait(ticket, LONG)?;
            assert_eq!(status.state, State::Acked, "{ticket}: {status}");
        }
        Ok(())
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("we named it")
}

/// Asks until it is so.
fn until(mut is_so: impl FnMut() -> bool, otherwise: impl Fn() -> String) {
    let deadline = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < deadline, "{}", otherwise());
        std::thread::yield_now();
    }
}
