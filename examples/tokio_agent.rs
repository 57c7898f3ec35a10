//! An agent on tokio that is steered while it works, stops on ctrl-c, and hears everything that was sent before it went.
//!
//! `cargo run --example tokio_agent`, and from another terminal `laneway send /tmp/laneway-agent "faster"`. With `--demo` it sends to
//! itself, works for a second, and interrupts itself.
#![allow(missing_docs, reason = "a program")]

use laneway::agent::{Ended, Idle};
use laneway::event::AsyncReceiver;
use laneway::{Message, Queue};
use std::time::Duration;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let demo = std::env::args().any(|argument| argument == "--demo");
    let scratch = tempfile::tempdir()?;
    let path = if demo { scratch.path().join("agent") } else { std::env::temp_dir().join("laneway-agent") };
    let queue = Queue::open_or_create(&path)?;
    println!("steer me: laneway send {} TEXT", path.display());
    let mut mail = AsyncReceiver::new(queue.receiver()?)?;
    let steering = demo.then(|| tokio::spawn(steer(queue)));

    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    let mut step = 0;
    loop {
        tokio::select! {
            // Dropped in the middle when something else happens, and nothing is lost by that.
            payload = mail.recv() => println!("steered: {}", String::from_utf8_lossy(&payload?)),
            () = tokio::time::sleep(Duration::from_millis(100)) => {
                step += 1;
                println!("step {step}");
            }
            asked = &mut interrupted => {
                asked?;
                break;
            }
        }
    }
    // Before it stops: what came in the meantime, until there is an instant at which there is nothing.
    let late = |message: Message<'_>| println!("steered, late: {}", String::from_utf8_lossy(&message.to_vec()));
    let mut turn = Idle::new(mail.mail()).begin(late)?;
    while let Ended::Late(more) = turn.finish(late)? {
        turn = more;
    }
    println!("stopped after {step} steps; what is sent from here on waits for the next run");
    if let Some(steering) = steering {
        steering.await??;
    }
    Ok(())
}

/// Somebody else, in a task of the same process for once.
async fn steer(queue: Queue) -> Result<(), Failure> {
    let mut sender = queue.sender()?;
    for text in ["look at the parser first", "and use fewer words", "stop when the tests pass"] {
        tokio::time::sleep(Duration::from_millis(250)).await;
        sender.send(text.as_bytes())?;
    }
    let this = nix::unistd::Pid::this();
    nix::sys::signal::kill(this, nix::sys::signal::Signal::SIGINT)?;
    Ok(())
}
