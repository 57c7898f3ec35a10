//! Messages that a mailbox's receiver keeps for later: those that were sent for later, and those that failed and will be tried
//! again. They are moved out of their sender's lane, so that they hold up nobody behind them, into a queue that the
//! receiver alone uses: what is in it is as safe as in the lane, and named by the key of the original, so that of one that a kill
//! left in both places only one counts.
//!
//! The queue is a log: each record is a message and when it is due, or strikes out a message: one whose record stays in the log for
//! a while, or one that lies in its lane and was taken back when the ledger had no room to say so. Records at the front that are
//! done with are given back; one that keeps many behind it from being given back is appended again. What is due when is
//! in memory, and found again in the log by the next receiver.

use super::envelope::{Envelope, Malformed, Opened};
use super::post::{RENEWED, RETRY, log_queue};
use crate::error::{Cause, Error, SendError};
use crate::ledger::Key;
use crate::queue::{OnFull, Queue, Receiver, Sender};
use bytemuck::{Pod, Zeroable};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What stands before a message in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
struct Label {
    key: u64,
    due: u64,
    attempts: u32,
    uid: u32,
}

/// A message that is kept.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) key: Key,
    pub(super) due: u64,
    pub(super) attempts: u32,
    /// The user who sent it.
    pub(super) uid: u32,
    pub(super) opened: Opened,
    /// Envelope, name and body.
    pub(super) bytes: Vec<u8>,
}

/// Why a message is not to be handed out that lies in its lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strike {
    /// It was kept, and is settled, as the ledger says or has forgotten.
    Settled,
    /// It was taken back, which is to be said when its turn comes.
    TakenBack,
}

/// A record of the log: the newest one of a message counts.
#[derive(Debug, Clone, Copy)]
struct Record {
    serial: u64,
    key: Key,
}

/// What stands in a record of the log.
enum Entry {
    Letter(Letter),
    Strike(Key, Strike),
    /// No receiver of this version wrote it; it is passed when its turn comes.
    Nothing,
}

fn read(record: &[u8]) -> Entry {
    const LEN: usize = size_of::<Label>();
    let found = record.get(..LEN).map(bytemuck::pod_read_unaligned::<Label>);
    let known = |label: Label| Some((label, Key::from_word(label.key).filter(|key| key.place().is_some())?));
    let Some((label, key)) = found.and_then(known) else {
        return Entry::Nothing;
    };
    if record.len() == LEN {
        return Entry::Strike(key, if label.attempts > 0 { Strike::TakenBack } else { Strike::Settled });
    }
    let bytes = record[LEN..].to_vec();
    let Label { due, attempts, uid, .. } = label;
    Envelope::of_bytes(&bytes)
        .map_or(Entry::Nothing, |opened| Entry::Letter(Letter { key, due, attempts, uid, opened, bytes }))
}

/// What a mailbox's log holds, for an onlooker.
#[derive(Default)]
pub(super) struct Log {
    pub(super) letters: HashMap<Key, Letter>,
    /// Messages that are struck out, here or in their lanes.
    pub(super) struck: HashSet<Key>,
}

impl Log {
    /// Reads it. Opens what is there and makes nothing.
    pub(super) fn look(mailbox: &Path) -> Result<Log, Error> {
        let mut log = Log::default();
        let queue = match Queue::open(mailbox.join(RETRY)) {
            Err(error) if matches!(error.cause(), Cause::NotFound) => return Ok(log),
            answer => answer?,
        };
        for peeked in queue.observe()?.peek(usize::MAX)? {
            match read(&peeked.payload) {
                Entry::Letter(letter) => drop(log.letters.insert(letter.key, letter)),
                Entry::Strike(key, _) => {
                    log.letters.remove(&key);
                    log.struck.insert(key);
                }
                Entry::Nothing => {}
            }
        }
        Ok(log)
    }
}

/// The messages that are kept, and the log.
pub(super) struct Kept {
    sender: Sender,
    receiver: Receiver,
    log: VecDeque<Record>,
    next_serial: u64,
    /// By key: the newest record, and the message.
    letters: HashMap<Key, (u64, Arc<Letter>)>,
    /// Those that wait for their time.
    waiting: BTreeMap<(u64, u64), Key>,
    /// Messages that are struck out in their lanes: the newest record of each.
    struck: HashMap<Key, (u64, Strike)>,
    /// Records in the log that count for nothing.
    dead: usize,
}

/// How many records that count for nothing may lie behind one that does, besides as many as do.
const SLACK: usize = 64;

/// How long the one who served before may take to go: the kernel gives its locks back one by one.
const GOING: Duration = Duration::from_millis(100);

fn attach(log: &Queue) -> Result<Sender, Error> {
    let until = Instant::now() + GOING;
    loop {
        match log.sender_options().on_full(OnFull::GrowThenFail).attach() {
            Err(error) if matches!(error.cause(), Cause::TooManySenders { .. }) && Instant::now() < until => {
                std::thread::yield_now();
            }
            answer => return answer,
        }
    }
}

/// Whether the log's lane is one that nobody holds, and is retired.
fn nobody_sends(log: &Queue) -> Result<bool, Error> {
    Ok(!log.observe()?.lanes()?.iter().any(|lane| lane.sender_alive))
}

/// A log of which a part cannot be read: what stands before that goes into another, which takes its place. Whole, whenever we die.
fn renew(mailbox: &Path, mail: &Queue, damaged: Queue) -> Result<Queue, Error> {
    let new = log_queue(mailbox, RENEWED, mail, 1)?;
    let mut sender = attach(&new)?;
    for record in damaged.observe()?.peek(usize::MAX)? {
        let failed = |error| Error::new("renew", new.path(), Cause::Io { file: String::new(), source: error });
        sender.send(&record.payload).map_err(|error| failed(std::io::Error::other(error)))?;
    }
    drop(sender);
    damaged.destroy()?;
    finish_renewal(mailbox)?;
    log_queue(mailbox, RETRY, mail, 1)
}

/// Gives the new log its name when the old one is gone, and removes one of which that cannot be said.
fn finish_renewal(mailbox: &Path) -> Result<(), Error> {
    let (old, new) = (mailbox.join(RETRY), mailbox.join(RENEWED));
    match (new.exists(), old.exists()) {
        (true, true) => Queue::remove(&new),
        (true, false) => {
            let failed = |source| Error::new("rename", &new, Cause::Io { file: String::new(), source });
            std::fs::rename(&new, &old).map_err(failed)
        }
        (false, _) => Ok(()),
    }
}

impl Kept {
    /// What the last receiver kept, and room for more.
    pub(super) fn open(mailbox: &Path, mail: &Queue) -> Result<Kept, Error> {
        finish_renewal(mailbox)?;
        let mut queue = log_queue(mailbox, RETRY, mail, 1)?;
        // The lock first: whoever served before is gone then, and its sender too, or just going.
        let mut receiver = queue.receiver()?;
        let sender = match attach(&queue) {
            Err(error) if matches!(error.cause(), Cause::TooManySenders { .. }) && nobody_sends(&queue)? => {
                drop(receiver);
                queue = renew(mailbox, mail, queue)?;
                receiver = queue.receiver()?;
                attach(&queue)?
            }
            answer => answer?,
        };
        let mut kept = Kept {
            sender,
            receiver,
            log: VecDeque::new(),
            next_serial: 0,
            letters: HashMap::new(),
            waiting: BTreeMap::new(),
            struck: HashMap::new(),
            dead: 0,
        };
        for peeked in queue.observe()?.peek(usize::MAX)? {
            kept.recall(&peeked.payload);
        }
        kept.tidy();
        Ok(kept)
    }

    /// Takes a record of the log into memory.
    fn recall(&mut self, record: &[u8]) {
        match read(record) {
            Entry::Letter(letter) => self.note(letter),
            Entry::Strike(key, strike) => self.note_struck(key, strike),
            Entry::Nothing => self.note_nothing(),
        }
    }

    /// Counts a record that was appended to the log, or found there.
    fn push(&mut self, key: Key) -> u64 {
        let serial = self.next_serial;
        self.next_serial += 1;
        self.log.push_back(Record { serial, key });
        serial
    }

    fn note(&mut self, letter: Letter) {
        let key = letter.key;
        let serial = self.push(key);
        self.waiting.insert((letter.due, serial), key);
        if let Some((older, letter)) = self.letters.insert(key, (serial, Arc::new(letter))) {
            self.waiting.remove(&(letter.due, older));
            self.dead += 1;
        }
    }

    fn note_nothing(&mut self) {
        self.push(Key::shared(0, 0));
        self.dead += 1;
    }

    fn note_struck(&mut self, key: Key, strike: Strike) {
        let serial = self.push(key);
        let letter = self.letters.remove(&key);
        if let Some((older, letter)) = &letter {
            self.waiting.remove(&(letter.due, *older));
            // That record, and this one: what it strikes out is in front of it.
            self.dead += 2;
        } else if self.struck.insert(key, (serial, strike)).is_some() {
            self.dead += 1;
        }
    }

    /// Strikes out a message that lies in its lane and was taken back: it is not to be handed out. That is in the log when this returns.
    pub(super) fn strike(&mut self, key: Key) -> Result<(), SendError> {
        if !self.struck.contains_key(&key) {
            self.append_strike(key, Strike::TakenBack)?;
            self.note_struck(key, Strike::TakenBack);
        }
        Ok(())
    }

    /// Whether this message is struck out in its lane, and why.
    pub(super) fn strike_of(&self, key: Key) -> Option<Strike> {
        self.struck.get(&key).map(|(_, strike)| *strike)
    }

    /// A message that is struck out has left its lane.
    pub(super) fn not_struck(&mut self, key: Key) {
        if self.struck.remove(&key).is_some() {
            self.dead += 1;
            self.tidy();
        }
    }

    /// Those that are struck out and `stay` does not want to have so any more, because they left their lanes.
    pub(super) fn keep_struck(&mut self, stay: impl Fn(Key) -> bool) {
        let before = self.struck.len();
        self.struck.retain(|key, _| stay(*key));
        self.dead += before - self.struck.len();
        self.tidy();
    }

    /// Keeps a message until it is due; one that was kept before from now on until then. It is in the log when this returns.
    pub(super) fn keep(
        &mut self,
        key: Key,
        due: u64,
        attempts: u32,
        uid: u32,
        bytes: Vec<u8>,
    ) -> Result<(), SendError> {
        let opened = Envelope::of_bytes(&bytes);
        self.append(&Label { key: key.word(), due, attempts, uid }, &bytes)?;
        match opened {
            Ok(opened) => self.note(Letter { key, due, attempts, uid, opened, bytes }),
            Err(Malformed { .. }) => self.note_nothing(),
        }
        Ok(())
    }

    fn append(&mut self, label: &Label, bytes: &[u8]) -> Result<(), SendError> {
        self.sender.send_gathered([bytemuck::bytes_of(label), bytes]).map(|_| ())
    }

    /// Appends the record that strikes a message out: a label with nothing behind it.
    fn append_strike(&mut self, key: Key, strike: Strike) -> Result<(), SendError> {
        let attempts = u32::from(strike == Strike::TakenBack);
        self.append(&Label { key: key.word(), due: 0, attempts, uid: 0 }, &[])
    }

    /// Whether this message is kept.
    pub(super) fn holds(&self, key: Key) -> bool {
        self.letters.contains_key(&key)
    }

    /// Whether this message is kept and in nobody's hands.
    pub(super) fn waits(&self, key: Key) -> bool {
        self.letters.get(&key).is_some_and(|(serial, letter)| self.waiting.contains_key(&(letter.due, *serial)))
    }

    /// The messages that are kept.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.letters.keys().copied()
    }

    /// How many messages are kept.
    pub(super) fn len(&self) -> usize {
        self.letters.len()
    }

    /// How many of them wait for their time.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Those that are not due yet.
    pub(super) fn later(&self, now: u64) -> impl Iterator<Item = Key> + '_ {
        self.waiting.range((now + 1, 0)..).map(|(_, key)| *key)
    }

    /// When the next one is due.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.waiting.first_key_value().map(|((due, _), _)| *due)
    }

    /// A message that is due, the longest first. It is kept until it is [`done`](Self::done) with or kept anew.
    pub(super) fn take_due(&mut self, now: u64) -> Option<Arc<Letter>> {
        let first = self.waiting.first_entry().filter(|first| first.key().0 <= now)?;
        let key = first.remove();
        self.letters.get(&key).map(|(_, letter)| Arc::clone(letter))
    }

    /// Hands a message out again that was taken, as soon as possible. It was not kept anew: the log stays as it is.
    pub(super) fn return_at_once(&mut self, key: Key) {
        if let Some((serial, letter)) = self.letters.get(&key) {
            self.waiting.insert((letter.due, *serial), key);
        }
    }

    /// A message is kept no more.
    pub(super) fn done(&mut self, key: Key) {
        let Some((serial, letter)) = self.letters.get(&key) else { return };
        let serial = *serial;
        let is_first = self.log.front().is_some_and(|first| first.serial == serial);
        self.waiting.remove(&(letter.due, serial));
        // What stays in the log would be handed out by the next receiver. Without room for saying so the ledger says it, for
        // as long as it remembers.
        if !is_first && self.append_strike(key, Strike::Settled).is_ok() {
            self.note_struck(key, Strike::Settled);
        } else {
            self.letters.remove(&key);
            self.dead += 1;
        }
        self.tidy();
    }

    /// The messages that are struck out in their lanes.
    pub(super) fn struck(&self) -> impl Iterator<Item = Key> + '_ {
        self.struck.keys().copied()
    }

    /// Whether few enough records count for nothing.
    fn is_tidy(&self) -> bool {
        self.dead <= self.letters.len() + self.struck.len() + SLACK
    }

    /// Gives back what need not be kept.
    fn tidy(&mut self) {
        while let Some(&first) = self.log.front() {
            if let Some((serial, letter)) = self.letters.get(&first.key)
                && *serial == first.serial
            {
                if self.is_tidy() {
                    return;
                }
                let letter = Arc::clone(letter);
                let waits = self.waiting.remove(&(letter.due, first.serial)).is_some();
                let Letter { key, due, attempts, uid, .. } = *letter;
                let label = Label { key: key.word(), due, attempts, uid };
                if self.append(&label, &letter.bytes).is_err() {
                    // There is no room to move it; it moves when there is.
                    if waits {
                        self.waiting.insert((due, first.serial), key);
                    }
                    return;
                }
                let serial = self.push(key);
                self.letters.insert(key, (serial, letter));
                if waits {
                    self.waiting.insert((due, serial), key);
                }
                self.dead += 1;
            } else if let Some(&(serial, strike)) = self.struck.get(&first.key)
                && serial == first.serial
            {
                if self.is_tidy() || self.append_strike(first.key, strike).is_err() {
                    return;
                }
                self.note_struck(first.key, strike);
            }
            // What is taken here is dropped, and so released. When it cannot be taken the log and the memory differ: the
            // lane was damaged, and there is nothing to give back.
            if self.receiver.try_recv().is_err() {
                return;
            }
            self.log.pop_front();
            self.dead -= 1;
        }
    }
}
