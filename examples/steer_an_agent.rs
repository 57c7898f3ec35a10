//! A turn-based agent works in one process; another process steers it while it works. The agent drains its queue at
//! three places (on entry, between steps, and before it stops), so no message waits for an unrelated later turn.
//!
//! `cargo run --release --example steer_an_agent`

use laneway::{Queue, Receiver, TurnEnd};
use std::error::Error;
use std::path::Path;
use std::process::Command;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, path] = &arguments[..] {
        return steer(Path::new(path));
    }

    let path = std::env::temp_dir().join(format!("laneway-steer-{}", std::process::id()));
    let queue = Queue::create(&path)?;

    // Sent before the agent exists: the first drain of its first turn has it.
    queue.sender()?.send(b"start with the tests")?;

    let mut agent = Agent { mail: queue.receiver()?, instructions: Vec::new() };
    let mut steering = Command::new(std::env::current_exe()?).arg(&path).spawn()?;
    let mut turn = 0;
    while !agent.was_told("that is all") {
        turn += 1;
        agent.take_turn(turn)?;
    }
    assert!(steering.wait()?.success());

    let expected = ["start with the tests", "use the new parser", "skip the benchmarks", "that is all"];
    assert_eq!(agent.instructions, expected, "every instruction arrived once, in order");
    println!("after {turn} turns the agent has all {} instructions", expected.len());
    queue.destroy()?;
    Ok(())
}

/// The other process: it neither knows nor asks whether the agent is in a turn, between two, or not yet started.
fn steer(path: &Path) -> Result<(), Box<dyn Error>> {
    let mut agent = Queue::open(path)?.sender()?;
    for instruction in ["use the new parser", "skip the benchmarks", "that is all"] {
        let ticket = agent.send(instruction.as_bytes())?;
        println!("steering: {instruction:?} sent as {ticket}");
    }
    Ok(())
}

struct Agent {
    mail: Receiver,
    instructions: Vec<String>,
}

impl Agent {
    fn take_turn(&mut self, turn: usize) -> Result<(), Box<dyn Error>> {
        // 1. On entry: what came while no turn was running belongs to this one.
        self.follow_instructions(turn, "on entry")?;
        loop {
            for _step in 0..3 {
                // A step of real work stands here: a call of the model, a tool.
                std::hint::black_box((0..20_000u64).sum::<u64>());
                // 2. Between steps.
                self.follow_instructions(turn, "between steps")?;
            }
            // 3. Before it stops: either the queue was empty at this instant, or the turn goes on.
            match self.mail.finish_turn()? {
                TurnEnd::Quiet => return Ok(()),
                TurnEnd::Late(mail) => {
                    let late: Vec<String> = mail.map(|message| text(&message.to_vec())).collect();
                    println!("turn {turn}, at its end: {late:?}");
                    self.instructions.extend(late);
                }
            }
        }
    }

    fn follow_instructions(&mut self, turn: usize, when: &str) -> Result<(), Box<dyn Error>> {
        for message in self.mail.drain()? {
            let instruction = text(&message.to_vec());
            println!("turn {turn}, {when}: {instruction:?}");
            self.instructions.push(instruction);
        }
        Ok(())
    }

    fn was_told(&self, instruction: &str) -> bool {
        self.instructions.iter().any(|told| told == instruction)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
