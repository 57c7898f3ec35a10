//! A receiver is killed in the middle of its work, and a sender in the middle of a burst. Nothing that was committed
//! is lost: the next receiver gets what the last one had not released, and the next sender takes over the lane.
//!
//! `cargo run --release --example survive_a_crash`

use laneway::Queue;
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, role, path] = &arguments[..] {
        return match role.as_str() {
            "receiver" => receive_until_killed(Path::new(path)),
            _ => send_until_killed(Path::new(path)),
        };
    }

    let path = std::env::temp_dir().join(format!("laneway-crash-{}", std::process::id()));
    let queue = Queue::create(&path)?;

    // A sender that sends for ever is killed somewhere.
    let sent = run_and_kill("sender", &path, 5_000)?;
    println!("the sender was killed after it had reported {sent} messages");

    // So is a receiver. What it reported was released; the message in its hands was not.
    let received = run_and_kill("receiver", &path, 1_000)?;
    println!("the receiver was killed after it had reported {received} messages");

    // The next sender takes over the lane, behind the last committed message.
    let mut sender = queue.sender()?;
    sender.send(b"and one more")?;
    sender.close();

    // The next receiver goes on where the last one ended.
    let receiver = queue.receiver()?;
    let first = receiver.recv()?.read_pod::<u64>()?;
    let mut last = first;
    for message in &receiver {
        match message.read_pod::<u64>() {
            Ok(number) => {
                assert_eq!(number, last + 1, "a message is missing");
                last = number;
            }
            Err(_) => assert_eq!(message.to_vec(), b"and one more"),
        }
    }
    assert!(first <= received, "messages from {received} to {first} are missing");
    assert!(last + 1 >= sent, "messages from {last} to {sent} are missing");
    println!("the next receiver got messages {first} to {last}, and one more: nothing is missing");
    queue.destroy()?;
    Ok(())
}

/// Starts this program in a role, reads how far it is from its output, and kills it once it has come to `enough`.
/// Returns the last number that it had reported by then.
fn run_and_kill(role: &str, path: &Path, enough: u64) -> Result<u64, Box<dyn Error>> {
    let program = std::env::current_exe()?;
    let mut child = Command::new(program).arg(role).arg(path).stdout(Stdio::piped()).spawn()?;
    let mut reported = 0;
    for line in BufReader::new(child.stdout.take().expect("it is piped")).lines() {
        reported = line?.parse()?;
        if reported == enough {
            child.kill()?;
        }
    }
    child.wait()?;
    Ok(reported)
}

fn send_until_killed(path: &Path) -> Result<(), Box<dyn Error>> {
    let mut sender = Queue::open(path)?.sender()?;
    for number in 0u64.. {
        sender.send_pod(&number)?;
        println!("{}", number + 1);
    }
    Ok(())
}

fn receive_until_killed(path: &Path) -> Result<(), Box<dyn Error>> {
    let receiver = Queue::open(path)?.receiver()?;
    for (number, message) in receiver.iter().enumerate() {
        message.release();
        println!("{}", number + 1);
    }
    Ok(())
}
