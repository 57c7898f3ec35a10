//! A queue of tasks for each team: whoever enqueues gets a task's id at once, teams work in parallel and each in order, one that
//! sleeps is woken, and what became of a task can be asked by its id. Each team is a process.
//!
//! `cargo run --release --example teams`; what the teams do goes to standard error, a line of JSON each.

mod log;
mod queue;
mod story;
mod task;
mod team;

use laneway::mailbox::Post;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, root, name] = &arguments[..] {
        return team::work(&Post::open(root).from(name.as_str()), name);
    }

    let root = std::env::temp_dir().join(format!("laneway-teams-{}", std::process::id()));
    let post = Post::open(&root).from("iris");
    let told = story::tell(&post);
    for mailbox in post.list()? {
        post.remove(&mailbox)?;
    }
    std::fs::remove_dir_all(&root)?;
    told
}
