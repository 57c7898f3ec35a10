//! What stands before a message's body: who sent it, when, and what may become of it.

use super::clock;
use crate::layout::fnv1a;
use crate::queue::MessageRef;
use bytemuck::{Pod, Zeroable};
use std::ops::Range;
use std::time::Duration;

/// What an envelope says; 0 for what is not said. Sent as [`Packed`], behind which come the sender's name, padded to 8, and the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Envelope {
    /// [`VERSION`].
    pub(super) version: u8,
    /// A [`Kind`].
    pub(super) kind: u8,
    /// A [`Content`].
    pub(super) content: u8,
    /// Which of the words from `deadline` on are sent, by bits: [`pack`](Self::pack) says so.
    pub(super) words: u8,
    /// Bytes of the sender's name.
    pub(super) name_len: u16,
    /// How often it may be handed out; 0 for as often as its mailbox says. Of a chunk: at which attempt it was answered.
    pub(super) max_attempts: u16,
    /// Counts the messages of a sender's handle, from 1; or the chunks of an answer, at each attempt.
    pub(super) sequence: u64,
    /// When it was sent, by [`clock::now`].
    pub(super) sent_at: u64,
    /// When it is worth nothing any more.
    pub(super) deadline: u64,
    /// When it may be handed out.
    pub(super) not_before: u64,
    /// What a newer message takes the place of.
    pub(super) supersede: u64,
    /// What is to be done but once.
    pub(super) idempotency: u64,
    /// The queue that takes the answer, by the number in its name.
    pub(super) reply_to: u64,
    /// What the answer is to.
    pub(super) correlation: u64,
}

pub(super) const VERSION: u8 = 1;

/// The longest envelope, without the name: bytes.
pub(super) const LONGEST: usize = size_of::<Envelope>();

/// Words of the longest envelope, and those at its start that every envelope has.
const WORDS: usize = LONGEST / 8;
const ALWAYS: usize = 3;

/// The longest name of a sender, bytes.
pub(super) const LONGEST_NAME: usize = 200;

/// What is in a message's body, for whoever reads it: laneway does not look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
#[non_exhaustive]
pub enum Content {
    /// Bytes, of whatever kind.
    #[default]
    Bytes = 0,
    /// UTF-8.
    Text = 1,
    /// JSON.
    Json = 2,
    /// MessagePack.
    MessagePack = 3,
    /// CBOR.
    Cbor = 4,
    /// A value as it lies in memory.
    Pod = 5,
}

impl Content {
    pub(super) fn from_byte(byte: u8) -> Option<Content> {
        use Content::{Bytes, Cbor, Json, MessagePack, Pod, Text};
        [Bytes, Text, Json, MessagePack, Cbor, Pod].into_iter().find(|content| *content as u8 == byte)
    }
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Mail = 1,
    /// Somebody waits for an answer.
    Request = 2,
    /// An answer, in one piece.
    Reply = 3,
    /// A part of an answer.
    Chunk = 4,
    /// Behind the last part of one.
    End = 5,
    /// There will be no answer; the body says why.
    Failed = 6,
    /// Whoever answered has stopped in the middle.
    BrokenOff = 7,
}

impl Kind {
    pub(super) fn from_byte(byte: u8) -> Option<Kind> {
        use Kind::{BrokenOff, Chunk, End, Failed, Mail, Reply, Request};
        [Mail, Request, Reply, Chunk, End, Failed, BrokenOff].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// An envelope that breaks a rule, with the field and the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed {
    pub(super) field: &'static str,
    pub(super) found: u64,
}

/// An envelope that was checked, and where in the message the body begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opened {
    pub(super) envelope: Envelope,
    pub(super) body: usize,
}

impl Opened {
    /// Where in the message the sender's name lies.
    pub(super) fn name(&self) -> Range<usize> {
        let len = usize::from(self.envelope.name_len);
        let start = self.body - len.next_multiple_of(8);
        start..start + len
    }
}

/// An envelope as it is sent: without the words that say nothing, so that a plain message, or an answer, fits into a cache line
/// with its body. Little-endian, as everything.
pub(super) struct Packed {
    words: [u64; WORDS],
    len: usize,
}

impl Packed {
    #[inline(always)]
    pub(super) fn bytes(&self) -> &[u8] {
        &bytemuck::bytes_of(&self.words)[..self.len]
    }
}

impl Envelope {
    #[inline(always)]
    pub(super) fn pack(&self) -> Packed {
        let mut words = [0; WORDS];
        let (mut at, mut present) = (ALWAYS, 0);
        let said = [self.deadline, self.not_before, self.supersede, self.idempotency, self.reply_to, self.correlation];
        for (number, word) in said.into_iter().enumerate() {
            words[at] = word;
            at += usize::from(word != 0);
            present |= u64::from(word != 0) << number;
        }
        // By shifts: bytes that were just stored one by one are not there yet for who loads them all at once.
        words[0] = u64::from(self.version)
            | u64::from(self.kind) << 8
            | u64::from(self.content) << 16
            | present << 24
            | u64::from(self.name_len) << 32
            | u64::from(self.max_attempts) << 48;
        (words[1], words[2]) = (self.sequence, self.sent_at);
        Packed { words, len: 8 * at }
    }

    /// The envelope of a message of a lane.
    #[inline]
    pub(super) fn of(message: &MessageRef<'_>) -> Result<Opened, Malformed> {
        Envelope::read(message.len(), |at, to| message.copy_part_to(at, to))
    }

    /// The envelope at the start of these bytes.
    pub(super) fn of_bytes(bytes: &[u8]) -> Result<Opened, Malformed> {
        Envelope::read(bytes.len(), |at, to| to.copy_from_slice(&bytes[at..at + to.len()]))
    }

    /// The envelope of a message of `len` bytes, of which `copy` copies those from a place on; checked.
    #[inline(always)]
    fn read(len: usize, copy: impl Fn(usize, &mut [u8])) -> Result<Opened, Malformed> {
        let mut words = [0u64; WORDS];
        if len < 8 * ALWAYS {
            return Err(Malformed { field: "length", found: len as u64 });
        }
        copy(0, bytemuck::cast_slice_mut(&mut words[..ALWAYS]));
        let present = (words[0] >> 24) as u8;
        let end = 8 * (ALWAYS + present.count_ones() as usize);
        let known = u32::from(present) < 1 << (WORDS - ALWAYS) && end <= len;
        if present != 0 && known {
            let mut said = [0u64; WORDS - ALWAYS];
            copy(8 * ALWAYS, &mut bytemuck::bytes_of_mut(&mut said)[..end - 8 * ALWAYS]);
            let mut next = said.into_iter();
            let places = words[ALWAYS..].iter_mut().enumerate();
            places
                .filter(|(number, _)| present >> number & 1 != 0)
                .for_each(|(_, word)| *word = next.next().unwrap_or(0));
        }
        let envelope: Envelope = bytemuck::cast(words);
        let body = end + usize::from(envelope.name_len).next_multiple_of(8);
        let Envelope { version, kind, content, words, name_len, .. } = envelope;
        let fields = [
            ("version", u64::from(version), version == VERSION),
            ("kind", kind.into(), Kind::from_byte(kind).is_some()),
            ("content", content.into(), Content::from_byte(content).is_some()),
            ("words", words.into(), known),
            ("name_len", name_len.into(), usize::from(name_len) <= LONGEST_NAME && body <= len),
        ];
        match fields.into_iter().find(|(.., right)| !right) {
            Some((field, found, _)) => Err(Malformed { field, found }),
            None => Ok(Opened { envelope, body }),
        }
    }

    /// How long ago it was sent.
    pub(super) fn age(&self, now: u64) -> Duration {
        clock::between(self.sent_at, now)
    }
}

/// A key as 64 bits, never 0: FNV-1a, and the mixing of MurmurHash3 (both public domain), so that keys that are alike have
/// nothing in common. Two keys that meet in one number are taken for one; with a million keys in use that happens to one
/// host in thirty million.
pub(super) fn hash(key: &[u8]) -> u64 {
    let mut hash = fnv1a(key);
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ hash >> 33).wrapping_mul(factor);
    }
    (hash ^ hash >> 33).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The offsets that docs/format.md lists, against those of the code.
    #[test]
    #[cfg_attr(miri, ignore = "it reads a page, and no memory of ours")]
    fn the_envelope_of_the_format_page_is_that_of_the_code() {
        macro_rules! fields { ($($field:ident)*) => { [$(format!("{} {}", std::mem::offset_of!(Envelope, $field), stringify!($field))),*] } }
        let code = fields!(version kind content words name_len max_attempts sequence sent_at deadline not_before supersede
            idempotency reply_to correlation);
        let rows = include_str!("../../docs/format.md").lines().filter_map(|line| line.strip_prefix("| envelope | "));
        let page: Vec<String> = rows
            .map(|row| row.split(" | ").collect::<Vec<_>>())
            .map(|cells| format!("{} {}", cells[0], cells[2]))
            .collect();
        assert_eq!(page, code);
    }

    fn said() -> Envelope {
        Envelope { version: VERSION, kind: 1, ..Envelope::zeroed() }
    }

    #[test]
    fn every_field_of_an_envelope_is_checked() {
        let right = Envelope { name_len: 9, ..said() };
        let bytes = |envelope: &Envelope, len: usize| {
            let mut bytes = envelope.pack().bytes().to_vec();
            bytes.resize(len, 0);
            bytes
        };
        let refused = |envelope: Envelope, len| Envelope::of_bytes(&bytes(&envelope, len)).map(|_| ()).unwrap_err();
        let opened = Envelope::of_bytes(&bytes(&right, 40)).unwrap();
        assert_eq!((opened.body, opened.name()), (40, 24..33));
        assert_eq!(refused(right, 39), Malformed { field: "name_len", found: 9 });
        assert_eq!(refused(right, 23), Malformed { field: "length", found: 23 });
        assert_eq!(refused(Envelope { version: 2, ..right }, 40).field, "version");
        assert_eq!(refused(Envelope { kind: 0, ..right }, 40), Malformed { field: "kind", found: 0 });
        assert_eq!(refused(Envelope { kind: 8, ..right }, 40).field, "kind");
        assert_eq!(refused(Envelope { content: 6, ..right }, 40).field, "content");
        assert_eq!(refused(Envelope { name_len: 201, ..right }, 4096).field, "name_len");
        assert_eq!(refused(Envelope { name_len: u16::MAX, ..right }, 40).field, "name_len");
        // Two words are said to follow, and there is room for one; and words that nobody knows.
        let two = Envelope { deadline: 7, correlation: 8, ..said() };
        assert_eq!(Envelope::of_bytes(&bytes(&two, 40)).unwrap().envelope.correlation, 8);
        assert_eq!(refused(two, 39), Malformed { field: "words", found: 0b100001 });
        for unknown in [0b100_0000, 0b1000_0000] {
            let mut made = bytes(&right, 400);
            made[3] = unknown;
            let found = u64::from(unknown);
            assert_eq!(Envelope::of_bytes(&made).unwrap_err(), Malformed { field: "words", found });
        }
    }

    #[test]
    fn what_is_said_comes_out_again_and_what_is_not_takes_no_room() {
        for present in 0..64u64 {
            let word = |number: u64| (present >> number & 1) * (100 + number);
            let envelope = Envelope {
                words: present as u8,
                content: 5,
                max_attempts: 3,
                sequence: u64::MAX,
                sent_at: 1,
                deadline: word(0),
                not_before: word(1),
                supersede: word(2),
                idempotency: word(3),
                reply_to: word(4),
                correlation: word(5),
                ..said()
            };
            let packed = envelope.pack();
            assert_eq!(packed.bytes().len(), 24 + 8 * present.count_ones() as usize);
            let opened = Envelope::of_bytes(packed.bytes()).unwrap();
            assert_eq!((opened.envelope, opened.body), (envelope, packed.bytes().len()));
        }
    }
}
