//! An agent answers in chunks, as its model speaks: to one who reads slowly, to one who has heard enough, and through a death in the
//! middle. The agent is a process of its own.
//!
//! `cargo run --release --example stream_reply`
#![allow(missing_docs, reason = "a program")]

use laneway::mailbox::{Chunks, Inbox, Mailbox, Post, ReplyError, ReplyStream, State, StreamError};
use std::error::Error;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Nothing here takes as long, unless the agent is gone for good.
const LONG: Duration = Duration::from_secs(20);

/// What the agent has to say: several times what fits between it and its reader.
const WORDS: usize = 20_000;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, role, root] = &arguments[..] {
        assert_eq!(role, "agent");
        return serve(&Post::open(root).serve("agent")?);
    }
    let dir = tempfile::tempdir()?;
    let mut agent = start(dir.path())?;
    let mut mailbox = Post::open(dir.path()).from("reader").mailbox("agent")?;

    read_slowly(&mut mailbox)?;
    hear_enough(&mut mailbox)?;
    survive(&mut mailbox, &mut agent, dir.path())?;
    agent.kill()?;
    agent.wait()?;
    Ok(())
}

fn start(root: &Path) -> Outcome<Child> {
    Ok(Command::new(std::env::current_exe()?).arg("agent").arg(root).spawn()?)
}

/// The agent speaks faster than anybody reads. It is held up, and nothing piles up.
fn read_slowly(mailbox: &mut Mailbox) -> Outcome<()> {
    let mut answer = mailbox.request_stream(b"tell me everything")?;
    let mut words = 0;
    let waited = loop {
        let chunk = answer.next(LONG)?.ok_or("the last chunk says how often it waited")?;
        let text = String::from_utf8(chunk.body)?;
        if let Some(times) = text.strip_prefix("waited: ") {
            break times.parse::<usize>()?;
        }
        assert_eq!(text, word(words));
        words += 1;
        if words % 1000 == 0 {
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    assert_eq!((words, answer.next(LONG)?), (WORDS, None));
    assert!(waited > 0, "the agent was never held up");
    println!("{words} words came, in order; the agent had to wait for its reader {waited} times");
    Ok(())
}

/// The reader has heard enough. The agent notices, in the middle of a sentence that has no end, and goes on to the next request.
fn hear_enough(mailbox: &mut Mailbox) -> Outcome<()> {
    let mut answer = mailbox.request_stream(b"talk for ever")?;
    let ticket = answer.ticket();
    for number in 0..10 {
        assert_eq!(answer.next(LONG)?.map(|chunk| chunk.body), Some(word(number).into_bytes()));
    }
    answer.cancel();
    assert_eq!(mailbox.wait(&ticket, LONG)?.state, State::Acked);
    let said = mailbox.request(b"when were you cut short?", LONG)?;
    println!("the reader left after 10 words; the agent noticed after {}", String::from_utf8(said.body)?);
    Ok(())
}

/// The agent is killed while it speaks. The next one gets the request again, and the reader is told that the answer begins anew.
fn survive(mailbox: &mut Mailbox, agent: &mut Child, root: &Path) -> Outcome<()> {
    let mut answer = mailbox.request_stream(b"tell me everything")?;
    let mut heard = 0;
    while heard < 100 {
        assert_eq!(answer.next(LONG)?.map(|chunk| chunk.body), Some(word(heard).into_bytes()));
        heard += 1;
    }
    agent.kill()?;
    agent.wait()?;
    *agent = start(root)?;
    // What it had sent is there, and then comes not the rest of it, but word of another beginning.
    let attempt = loop {
        match answer.next(LONG) {
            Ok(Some(chunk)) => assert_eq!(chunk.body, word(heard).into_bytes()),
            Err(StreamError::Restarted { attempt }) => break attempt,
            other => return Err(format!("after {heard} words: {other:?}").into()),
        }
        heard += 1;
    };
    let all = collect(&mut answer)?;
    assert_eq!((all.len(), attempt), (WORDS + 1, 2));
    assert!(all.iter().take(WORDS).enumerate().all(|(number, text)| *text == word(number)));
    println!("the agent was killed when {heard} words had come; the next one began anew, and {WORDS} came");
    Ok(())
}

fn collect(answer: &mut Chunks) -> Outcome<Vec<String>> {
    let mut all = Vec::new();
    while let Some(chunk) = answer.next(LONG)? {
        all.push(String::from_utf8(chunk.body)?);
    }
    Ok(all)
}

fn word(number: usize) -> String {
    format!("word {number}")
}

/// The agent.
fn serve(inbox: &Inbox) -> Outcome<()> {
    let mut cut_short = 0;
    loop {
        let delivery = inbox.recv()?;
        match (delivery.body().as_slice(), delivery.reply_stream()?) {
            (b"tell me everything", Some(mut answer)) => {
                let mut waited = 0;
                for number in 0..WORDS {
                    waited += usize::from(say(&mut answer, number)?);
                }
                answer.send(format!("waited: {waited}").as_bytes())?;
                answer.finish()?;
            }
            (b"talk for ever", Some(mut answer)) => {
                cut_short = (0..).find(|number| say(&mut answer, *number).is_err()).unwrap_or_default();
            }
            // Whoever asked is gone, or wants it in one piece.
            _ => _ = delivery.reply(format!("{cut_short}").as_bytes())?,
        }
        // Only now: an agent that dies before this is asked again.
        delivery.ack();
    }
}

/// Says a word, and whether the reader had to be waited for.
fn say(answer: &mut ReplyStream, number: usize) -> Result<bool, ReplyError> {
    let word = word(number);
    match answer.send_timeout(word.as_bytes(), Duration::ZERO) {
        Err(ReplyError::Timeout) => answer.send(word.as_bytes()).map(|()| true),
        said => said.map(|()| false),
    }
}
