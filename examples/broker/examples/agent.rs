//! An agent that has the library: takes what is sent to a mailbox, and acks it. For the load test.
//!
//! `cargo run --release -p laneway-broker --example agent -- ROOT NAME`

use laneway::Wait;
use laneway::mailbox::Post;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, root, name] = &arguments[..] else { return Err("agent ROOT NAME".into()) };
    let inbox = Post::open(root).serve(name)?;
    inbox.set_wait(Wait::Park);
    println!("serving {name}");
    loop {
        inbox.recv()?.ack();
    }
}
