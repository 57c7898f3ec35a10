//! The steering queue of an agent's main loop, between two processes: what a user says reaches an agent in the middle of its
//! work, the agent streams what it has so far, and the user stops it in mid-stream. Then what the queue costs, beside the
//! figures of the system that this rebuilds.
//!
//! `cargo run --release --example h2a_loop`

mod agent;
mod figures;
mod user;
mod words;

use laneway::mailbox::Post;
use std::error::Error;
use std::process::{Child, Command};

/// The mailbox of the agent's prompts, each of which is a turn.
const AGENT: &str = "agent";
/// The mailbox from which it is steered in the middle of a turn.
const STEERING: &str = "agent.steering";
/// The mailbox to which it streams.
const USER: &str = "user";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, root] = &arguments[..] {
        return agent::work(&Post::open(root).from(AGENT));
    }

    let root = std::env::temp_dir().join(format!("laneway-h2a-{}", std::process::id()));
    let post = Post::open(&root).from(USER);
    let told = user::tell_the_story(&post).and_then(|()| figures::measure(&post));
    for mailbox in post.list()? {
        post.remove(&mailbox)?;
    }
    std::fs::remove_dir_all(&root)?;
    told
}

/// The other process.
fn start_agent(post: &Post) -> std::io::Result<Child> {
    Command::new(std::env::current_exe()?).arg(post.root()).spawn()
}
