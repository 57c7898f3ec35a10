//! Four processes send to one: every sender has a lane of its own, and each lane stays in order.
//!
//! `cargo run --release --example fan_in`

use bytemuck::{Pod, Zeroable};
use laneway::Queue;
use std::collections::BTreeMap;
use std::error::Error;
use std::process::Command;
use std::time::Instant;

const SENDERS: u64 = 4;
const MESSAGES: u64 = 100_000;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Event {
    sender: u64,
    sequence: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, path, sender] = &arguments[..] {
        let mut events = Queue::open(path)?.sender()?;
        let sender = sender.parse()?;
        for sequence in 0..MESSAGES {
            events.send_pod(&Event { sender, sequence })?;
        }
        // Closing says that nothing more will come; the receiver's loop ends when all have said so.
        events.close();
        return Ok(());
    }

    let path = std::env::temp_dir().join(format!("laneway-fan-in-{}", std::process::id()));
    let queue = Queue::create(&path)?;
    let mut children = (0..SENDERS)
        .map(|sender| Command::new(std::env::current_exe()?).arg(&path).arg(sender.to_string()).spawn())
        .collect::<Result<Vec<_>, _>>()?;

    let receiver = queue.receiver()?;
    let start = Instant::now();
    let mut expected = BTreeMap::new();
    // A sender that closes before the next one has attached would end a plain loop over the receiver.
    while expected.values().sum::<u64>() < SENDERS * MESSAGES {
        for message in &receiver {
            let event: Event = message.read_pod()?;
            let sequence = expected.entry(event.sender).or_insert(0);
            assert_eq!(event.sequence, *sequence, "sender {} is out of order", event.sender);
            *sequence += 1;
        }
    }
    let total: u64 = expected.values().sum();
    println!("{total} messages of {SENDERS} processes, each in order, in {:?}", start.elapsed());

    for child in &mut children {
        assert!(child.wait()?.success());
    }
    queue.destroy()?;
    Ok(())
}
