//! A watcher without a runtime: one thread, one `epoll`, three queues and standard input.
//!
//! `cargo run --example epoll_watcher`: type `0 hello` to send to the first of them, and end the input to stop.
#![allow(missing_docs, reason = "a program")]

use laneway::Queue;
use laneway::event::Events;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::io::BufRead;

const INPUT: u64 = u64::MAX;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let scratch = tempfile::tempdir()?;
    let names = ["backend", "frontend", "docs"];
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let (mut queues, mut senders) = (Vec::new(), Vec::new());
    for (number, name) in (0..).zip(names) {
        let queue = Queue::create(scratch.path().join(name))?;
        let events = Events::new(queue.receiver()?)?;
        epoll.add(&events, EpollEvent::new(EpollFlags::EPOLLIN, number))?;
        queues.push(events);
        // In other processes, usually.
        senders.push(queue.sender()?);
    }
    // A file that is redirected here cannot be waited for, and is always readable.
    let input = std::io::stdin();
    let waits_for_input = epoll.add(&input, EpollEvent::new(EpollFlags::EPOLLIN, INPUT)).is_ok();
    let mut open = true;
    loop {
        let mut ready = [EpollEvent::empty(); 8];
        let timeout = if open && waits_for_input { EpollTimeout::NONE } else { EpollTimeout::ZERO };
        let found = epoll.wait(&mut ready, timeout)?;
        for event in &ready[..found] {
            if let Some(events) = queues.get(event.data() as usize) {
                let name = names[event.data() as usize];
                for message in events.mail().try_iter() {
                    println!("{name}: {}", String::from_utf8_lossy(&message.to_vec()));
                }
                // If there is more it is readable still, and has its next turn with the others.
                let _ = events.rearm();
            }
        }
        let typed = !waits_for_input || ready[..found].iter().any(|event| event.data() == INPUT);
        if open && typed {
            let mut line = String::new();
            open = input.lock().read_line(&mut line)? > 0;
            let (number, text) = line.trim_end().split_once(' ').unwrap_or(("0", line.trim_end()));
            if let Some(sender) = number.parse().ok().and_then(|number: usize| senders.get_mut(number))
                && open
            {
                sender.send(text.as_bytes())?;
            }
        } else if !open && found == 0 {
            return Ok(());
        }
        if !open && waits_for_input {
            let _ = epoll.delete(&input);
        }
    }
}
