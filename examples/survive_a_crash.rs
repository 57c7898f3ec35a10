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

    // A receiver that takes them one by one is killed with one in its hands. What it reported was released.
    let received = run_and_kill("receiver", &path, 1_000)?;
    println!("the receiver was killed after it had reported {received} messages, with the next one in its hands");

    // The next sender takes over the lane, behind the last committed message.
    let mut sender = queue.sender()?;
    sender.send(b"and one more")?;
    sender.close();

    // The next receiver goes on where the last one ended.
    let mut rest: Vec<Vec<u8>> = queue.receiver()?.iter().map(|message| message.to_vec()).collect();
    assert_eq!(rest.pop().as_deref(), Some(&b"and one more"[..]));
    let numbers: Vec<u64> = rest.iter().map(|bytes| bytemuck::pod_read_unaligned(bytes)).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "a message is missing or out of order");
    let (first, end) = (numbers[0], numbers[numbers.len() - 1] + 1);
    assert_eq!(first, received, "the message in the receiver's hands comes again, and nothing before it");
    assert!(end >= sent, "messages from {end} to {sent} are missing");
    println!("the next receiver got messages {first} to {}, and one more: nothing is missing", end - 1);
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
    for done in 1..=1_000 {
        receiver.recv()?.release();
        println!("{done}");
    }
    // Here it is killed, with this one taken and not released.
    let _in_hand = receiver.recv()?;
    loop {
        std::thread::park();
    }
}
