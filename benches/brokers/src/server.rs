//! A server that is started for the run, listens on the loopback only, and ends with it.

use anyhow::{Context, Result, bail};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    /// Where it keeps what it keeps: in memory.
    _directory: TempDir,
}

/// How long a server may take to answer.
const LIMIT: Duration = Duration::from_secs(10);

impl Server {
    /// Starts a program with what `arguments` makes of a port and a directory in memory.
    pub(crate) fn start(program: &str, arguments: impl Fn(u16, &Path) -> Vec<String>) -> Result<Server> {
        let directory = tempfile::tempdir_in("/dev/shm").context("a directory in memory")?;
        // Free a moment ago, which is as good as can be had.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = Command::new(program);
        command.args(arguments(port, directory.path())).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().with_context(|| format!("cannot start {program}: apt-get install {program}"))?;
        let server = Server { child, port, _directory: directory };
        let started = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if started.elapsed() > LIMIT {
                bail!("{program} does not answer on port {port} after {LIMIT:?}");
            }
            std::thread::yield_now();
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
