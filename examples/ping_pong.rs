//! Two processes play ping-pong over two queues, first spinning, then sleeping between the strokes.
//!
//! `cargo run --release --example ping_pong`

use laneway::{Queue, Wait};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

const STROKES: usize = 20_000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1) {
        Some(directory) => play_back(Path::new(directory)),
        None => serve(),
    }
}

/// This process: serves and counts.
fn serve() -> Result<(), Box<dyn Error>> {
    let directory: PathBuf = std::env::temp_dir().join(format!("laneway-ping-pong-{}", std::process::id()));
    let ping = Queue::create(directory.join("ping"))?;
    let pong = Queue::create(directory.join("pong"))?;
    let mut other = Command::new(std::env::current_exe()?).arg(&directory).spawn()?;

    let mut strokes = ping.sender()?;
    let answers = pong.receiver()?;
    for wait in [Wait::Spin, Wait::Park] {
        answers.set_wait(wait);
        strokes.send_pod(&u64::from(wait == Wait::Spin))?;
        answers.recv()?.release();
        let start = Instant::now();
        for stroke in 0..STROKES as u64 {
            strokes.send_pod(&stroke)?;
            assert_eq!(answers.recv()?.read_pod::<u64>()?, stroke);
        }
        println!("{wait:?}: a round trip takes {:?}", start.elapsed() / STROKES as u32);
    }
    strokes.close();

    assert!(other.wait()?.success());
    ping.destroy()?;
    pong.destroy()?;
    std::fs::remove_dir(directory)?;
    Ok(())
}

/// The other process: sends everything back. The first message of a game says whether to spin.
fn play_back(directory: &Path) -> Result<(), Box<dyn Error>> {
    let strokes = Queue::open(directory.join("ping"))?.receiver()?;
    let mut answers = Queue::open(directory.join("pong"))?.sender()?;
    for (number, stroke) in strokes.iter().enumerate() {
        if number % (STROKES + 1) == 0 {
            strokes.set_wait(if stroke.read_pod::<u64>()? == 1 { Wait::Spin } else { Wait::Park });
        }
        answers.send_pod(&stroke.read_pod::<u64>()?)?;
    }
    Ok(())
}
