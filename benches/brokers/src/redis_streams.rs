//! Redis: a stream with a group of consumers, nothing written to disk.

use crate::server::Server;
use crate::{BODY, Broker, Turn};
use anyhow::{Result, ensure};
use redis::streams::{StreamReadOptions, StreamReadReply};
use redis::{Commands, Connection};
use std::time::Instant;

pub(crate) struct Redis {
    connection: Connection,
    _server: Server,
}

const STREAM: &str = "bench";
const GROUP: &str = "workers";

impl Redis {
    pub(crate) fn start() -> Result<Redis> {
        let server = Server::start("redis-server", |port, directory| {
            let text = format!("--port {port} --bind 127.0.0.1 --appendonly no --dir {}", directory.display());
            text.split(' ').map(str::to_owned).chain(["--save".to_owned(), String::new()]).collect()
        })?;
        let mut connection = redis::Client::open(format!("redis://127.0.0.1:{}/", server.port))?.get_connection()?;
        let () = connection.xgroup_create_mkstream(STREAM, GROUP, "0")?;
        Ok(Redis { connection, _server: server })
    }
}

impl Broker for Redis {
    fn name(&self) -> &'static str {
        "Redis Streams"
    }

    fn turn(&mut self, messages: u32) -> Result<Turn> {
        let started = Instant::now();
        for _ in 0..messages {
            let _: String = self.connection.xadd(STREAM, "*", &[("body", &BODY[..])])?;
        }
        let publishing = started.elapsed();
        let started = Instant::now();
        let options = StreamReadOptions::default().group(GROUP, "one").count(1);
        for _ in 0..messages {
            let reply: Option<StreamReadReply> = self.connection.xread_options(&[STREAM], &[">"], &options)?;
            let ids: Vec<String> = reply
                .into_iter()
                .flat_map(|reply| reply.keys)
                .flat_map(|key| key.ids)
                .map(|id| id.id)
                .collect();
            ensure!(ids.len() == 1, "{} messages came where one was asked for", ids.len());
            let acked: u32 = self.connection.xack(STREAM, GROUP, &ids)?;
            ensure!(acked == 1);
        }
        let consuming = started.elapsed();
        let () = self.connection.xtrim(STREAM, redis::streams::StreamMaxlen::Equals(0))?;
        Ok(Turn { messages, publishing, consuming })
    }
}
