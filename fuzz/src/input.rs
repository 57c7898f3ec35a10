//! Bytes of the fuzzer as numbers, and as what a lane's sender may have left. What is not there is 0.

use laneway::layout::{self, GRANULE, Kind, POSITION_LIMIT, Place, SEGMENT_SLOTS, segment};
use laneway::{Fuzzed, Part};

/// What is left of an input.
pub struct Input<'a>(pub &'a [u8]);

impl Input<'_> {
    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    /// Two bytes.
    pub fn short(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// A word: any, or, which is more often of interest, a small multiple of 8.
    pub fn word(&mut self) -> u64 {
        match self.byte() % 4 {
            0 => (0..8).fold(0, |word, _| word << 8 | u64::from(self.byte())),
            1 => u64::from(self.short()),
            2 => !(u64::from(self.short()) * 8),
            _ => u64::from(self.short()) * 8,
        }
    }

    /// Whether there is nothing left.
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }
}

/// Bytes of ring of every queue that is fuzzed.
const RING_LEN: u64 = 4096;

/// What a lane's sender may have written before it was last seen, whose last receiver stopped at `at`: a chain of records
/// as an honest one writes them, over it any words, and any bytes in the ring and behind it. What is honest is there so
/// that a lie need not be guessed whole.
pub fn scribble(input: &mut Input<'_>, queue: &Fuzzed, lane: u32, at: u64) {
    let part = Part::Lane(lane);
    if at < POSITION_LIMIT / 2 {
        chain(input, queue, part, at & !7);
    }
    for _ in 0..input.byte() % 5 {
        let slot = usize::from(input.byte()) % SEGMENT_SLOTS as usize;
        let offset = layout::lane::SEGMENTS + slot * segment::LEN + usize::from(input.byte() % 4) * 8;
        change(input, queue, part, offset);
    }
    for _ in 0..input.byte() % 5 {
        let offset = layout::HEADER_LEN + usize::from(input.byte()) % 64 * 8;
        change(input, queue, part, offset);
    }
    let (in_ring, elsewhere) = (usize::from(input.byte()), usize::from(input.short()));
    let rest = std::mem::take(&mut input.0);
    let (ring, segments) = rest.split_at(in_ring.min(rest.len()));
    let len = queue.range(part).len() - layout::RING;
    pour(queue, part, at as usize % RING_LEN as usize, RING_LEN as usize, ring);
    pour(queue, part, elsewhere * 8 % len, len, segments);
}

/// Another word, or the same and a little more or less, or with one bit turned.
fn change(input: &mut Input<'_>, queue: &Fuzzed, part: Part, offset: usize) {
    let word = queue.load(part, offset);
    let changed = match input.byte() % 4 {
        0 => word ^ 1 << (input.byte() % 64),
        1 => word.wrapping_add_signed(i64::from(input.byte() as i8) * 8),
        _ => input.word(),
    };
    queue.store(part, offset, changed);
}

/// Records from `at` on, each with the check of its place, some of them in segments that the table knows.
fn chain(input: &mut Input<'_>, queue: &Fuzzed, part: Part, mut at: u64) {
    let (mut place, mut slots) = (Place::ring(RING_LEN), 0..4);
    for _ in 0..input.byte() % 16 {
        let (kind, len) = (input.byte(), u64::from(input.short()));
        let offset = (place.offset + (at & (place.window - 1))) as usize;
        if offset + 8 > queue.range(part).len() {
            return;
        }
        let lap = place.lap(at);
        let commit = |kind, len: u64| queue.store(part, offset, lap.word(kind, len as u32).0);
        match kind % 8 {
            0..=3 => {
                let len = len % 1024;
                commit(Kind::Data, len);
                at = layout::next_record(at, layout::record_len(len as usize));
            }
            4 => {
                commit(Kind::Pad, 0);
                at = lap.end;
            }
            5 => {
                commit(Kind::Gap, len);
                at += 8;
            }
            6 if !place.is_ring() => {
                commit(Kind::Jump, 0);
                (place, at) = (Place::ring(RING_LEN), at + 8);
            }
            _ => {
                let Some(slot) = slots.next() else { return };
                let window = GRANULE << (kind >> 3 & 1);
                let start = (at + 8).next_multiple_of(window);
                let offset = layout::RING as u64 + RING_LEN + u64::from(kind >> 4 & 7) * GRANULE;
                let end = start + 8 + len * 8 % window;
                commit(Kind::Jump, slot as u64 + 1);
                let entry = layout::lane::SEGMENTS + slot * segment::LEN;
                let file = offset | u64::from(window.trailing_zeros());
                let words = [(segment::START, start), (segment::END, end), (segment::FILE, file), (segment::FROM, at)];
                words.into_iter().for_each(|(word, value)| queue.store(part, entry + word, value));
                (place, at) = (Place { offset, window, start, end }, start);
            }
        }
        if at >= place.end {
            return;
        }
    }
}

/// Bytes into the ring and what follows it, from `at` on and around the end of `len` bytes.
fn pour(queue: &Fuzzed, part: Part, at: usize, len: usize, bytes: &[u8]) {
    for (number, word) in bytes.chunks(8).enumerate() {
        let mut whole = [0; 8];
        whole[..word.len()].copy_from_slice(word);
        let offset = layout::RING + ((at & !7) + number * 8) % len;
        queue.store(part, offset, u64::from_le_bytes(whole));
    }
}
