//! A page that a victim shares with its tracer: how far it got. A store each, no system call.
#![expect(unsafe_code, reason = "a mapping that a forked child shares")]

use anyhow::Result;
use memmap2::MmapOptions;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// A word of the page.
pub(super) struct Word(AtomicU64);

impl Word {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// What a victim says. All zero at first.
#[repr(C)]
pub(super) struct Page {
    /// The number of the next message.
    pub(super) next: Word,
    /// Behind the last message whose send was begun.
    pub(super) started: Word,
    /// Behind the last message that was about to be released.
    pub(super) handled: Word,
    /// The same of the bystander's lane.
    pub(super) bystander: Word,
    /// Whether the lane was closed, and nobody has taken it since.
    pub(super) closed: Word,
    /// Behind the last new message that was received.
    pub(super) news: Word,
    /// Not 0: the rest of the program is to be left.
    pub(super) hurry: Word,
    /// Whether more may have been dropped than the receiver can be told of: the lane has had more than one sender.
    pub(super) inexact: Word,
    /// The act that is being played.
    pub(super) act: Word,
    /// The answer of a survivor: 1 all is well, 2 not.
    pub(super) answer: Word,
    /// Behind the last message that is promised.
    promised_end: Word,
    /// A bit for each message that need not come: it was dropped, or there was no room, or nobody to send it.
    excused: Bits,
    /// Those among them that were dropped.
    dropped: Bits,
}

type Bits = [Word; Page::MOST as usize / 64];

impl Page {
    /// More messages a program does not send.
    pub(super) const MOST: u64 = 4096;

    /// Says that the sends of these messages have returned.
    pub(super) fn promise(&self, numbers: Range<u64>) {
        self.next.set(numbers.end);
        if !numbers.is_empty() {
            self.promised_end.set(numbers.end.max(self.promised_end.get()));
        }
    }

    /// Says that these messages were not sent.
    pub(super) fn excuse(&self, numbers: Range<u64>) {
        self.started.set(numbers.end.max(self.started.get()));
        numbers.clone().for_each(|number| set(&self.excused, number));
        self.next.set(numbers.end);
    }

    /// Says that this message was dropped.
    pub(super) fn drop(&self, number: u64) {
        set(&self.dropped, number);
        self.excuse(number..number + 1);
    }

    /// Whether this message's send has returned well.
    pub(super) fn is_promised(&self, number: u64) -> bool {
        number < self.next.get() && !has(&self.excused, number)
    }

    pub(super) fn was_dropped(&self, number: u64) -> bool {
        has(&self.dropped, number)
    }

    /// Behind the last message that is promised.
    pub(super) fn promised_end(&self) -> u64 {
        self.promised_end.get()
    }

    fn words(&self) -> &[Word] {
        // SAFETY: the page is made of words alone.
        unsafe { std::slice::from_raw_parts(std::ptr::from_ref(self).cast(), size_of::<Page>() / 8) }
    }

    /// What it says now.
    pub(super) fn copy(&self) -> Vec<u64> {
        self.words().iter().map(Word::get).collect()
    }

    /// Makes it say that.
    pub(super) fn put(&self, words: &[u64]) {
        self.words().iter().zip(words).for_each(|(word, value)| word.set(*value));
    }

    pub(super) fn clear(&self) {
        self.words().iter().for_each(|word| word.set(0));
    }
}

fn set(bits: &Bits, number: u64) {
    let word = &bits[number as usize / 64];
    word.set(word.get() | 1 << (number % 64));
}

fn has(bits: &Bits, number: u64) -> bool {
    bits[number as usize / 64].get() >> (number % 64) & 1 == 1
}

/// A page that forked children share, for as long as this process lives.
pub(super) fn shared() -> Result<&'static Page> {
    let file = tempfile::tempfile()?;
    file.set_len(size_of::<Page>() as u64)?;
    let map = Box::leak(Box::new(MmapOptions::new().len(size_of::<Page>()).map_raw(&file)?));
    // SAFETY: the mapping is as long as a page, aligned, and is never given back; any bytes are words.
    Ok(unsafe { &*map.as_ptr().cast::<Page>() })
}
