//! NATS JetStream: a work queue in memory, with explicit acks that are confirmed.

use crate::server::Server;
use crate::{BODY, Broker, Turn};
use anyhow::{Context as _, Error, Result};
use async_nats::jetstream::consumer::{AckPolicy, Consumer, pull};
use async_nats::jetstream::stream::{Config, RetentionPolicy, StorageType};
use async_nats::jetstream::{self, Context};
use futures_util::StreamExt;
use std::time::Instant;
use tokio::runtime::{Builder, Runtime};

pub(crate) struct Nats {
    runtime: Runtime,
    context: Context,
    consumer: Consumer<pull::Config>,
    _server: Server,
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::msg(error.to_string())
}

impl Nats {
    pub(crate) fn start() -> Result<Nats> {
        let server = Server::start("nats-server", |port, directory| {
            let text = format!("-a 127.0.0.1 -p {port} -js -sd {}", directory.display());
            text.split(' ').map(str::to_owned).collect()
        })?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (context, consumer) = runtime.block_on(async {
            let client = async_nats::connect(format!("127.0.0.1:{}", server.port)).await?;
            let context = jetstream::new(client);
            let stream = context
                .create_stream(Config {
                    name: "bench".to_owned(),
                    subjects: vec!["bench".to_owned()],
                    storage: StorageType::Memory,
                    retention: RetentionPolicy::WorkQueue,
                    ..Config::default()
                })
                .await?;
            let config = pull::Config {
                durable_name: Some("workers".to_owned()),
                ack_policy: AckPolicy::Explicit,
                ..pull::Config::default()
            };
            let consumer = stream.create_consumer(config).await?;
            Ok::<_, Error>((context, consumer))
        })?;
        Ok(Nats { runtime, context, consumer, _server: server })
    }
}

impl Broker for Nats {
    fn name(&self) -> &'static str {
        "NATS JetStream"
    }

    fn turn(&mut self, messages: u32) -> Result<Turn> {
        let Nats { runtime, context, consumer, .. } = self;
        runtime.block_on(async {
            let started = Instant::now();
            for _ in 0..messages {
                context.publish("bench", BODY[..].into()).await?.await?;
            }
            let publishing = started.elapsed();
            let started = Instant::now();
            // It sends ahead what it has; each is acked, and the ack confirmed, before the next is looked at.
            let mut arriving = consumer.messages().await?;
            for _ in 0..messages {
                let message = arriving.next().await.context("the stream ended")??;
                message.double_ack().await.map_err(failed)?;
            }
            Ok(Turn { messages, publishing, consuming: started.elapsed() })
        })
    }
}
