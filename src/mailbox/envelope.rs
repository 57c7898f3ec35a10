//! What stands before a message's body: who sent it, when, and what may become of it.

use super::clock;
use crate::layout::fnv1a;
use crate::queue::MessageRef;
use bytemuck::{Pod, Zeroable};
use std::time::Duration;

/// The fixed part. Behind it the sender's name, padded to 8, and the body. Little-endian, as everything; 0 for what is not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Envelope {
    /// [`VERSION`].
    pub(super) version: u8,
    /// A [`Kind`].
    pub(super) kind: u8,
    /// A [`Content`].
    pub(super) content: u8,
    pub(super) reserved: u8,
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

/// Length of the fixed part, bytes.
pub(super) const LEN: usize = size_of::<Envelope>();

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

/// Where the body begins behind a name of so many bytes.
pub(super) const fn body_at(name_len: usize) -> usize {
    LEN + name_len.next_multiple_of(8)
}

impl Envelope {
    /// The envelope of a message of a lane.
    #[inline]
    pub(super) fn of(message: &MessageRef<'_>) -> Result<Opened, Malformed> {
        if message.len() < LEN {
            return Err(Malformed { field: "length", found: message.len() as u64 });
        }
        let mut envelope = Envelope::zeroed();
        message.copy_part_to(0, bytemuck::bytes_of_mut(&mut envelope));
        envelope.check(message.len())
    }

    /// The envelope at the start of these bytes.
    pub(super) fn of_bytes(bytes: &[u8]) -> Result<Opened, Malformed> {
        let Some(start) = bytes.get(..LEN) else {
            return Err(Malformed { field: "length", found: bytes.len() as u64 });
        };
        bytemuck::pod_read_unaligned::<Envelope>(start).check(bytes.len())
    }

    /// Checks what stands in it against a message of `len` bytes.
    #[inline]
    fn check(self, len: usize) -> Result<Opened, Malformed> {
        let body = body_at(self.name_len.into());
        let fields = [
            ("version", u64::from(self.version), self.version == VERSION),
            ("kind", self.kind.into(), Kind::from_byte(self.kind).is_some()),
            ("content", self.content.into(), Content::from_byte(self.content).is_some()),
            ("reserved", self.reserved.into(), self.reserved == 0),
            ("name_len", self.name_len.into(), usize::from(self.name_len) <= LONGEST_NAME && body <= len),
        ];
        match fields.into_iter().find(|(.., right)| !right) {
            Some((field, found, _)) => Err(Malformed { field, found }),
            None => Ok(Opened { envelope: self, body }),
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
        let code = fields!(version kind content reserved name_len max_attempts sequence sent_at deadline not_before supersede
            idempotency reply_to correlation);
        let rows = include_str!("../../docs/format.md").lines().filter_map(|line| line.strip_prefix("| envelope | "));
        let page: Vec<String> = rows
            .map(|row| row.split(" | ").collect::<Vec<_>>())
            .map(|cells| format!("{} {}", cells[0], cells[2]))
            .collect();
        assert_eq!(page, code);
    }

    #[test]
    fn every_field_of_an_envelope_is_checked() {
        let right = Envelope { version: VERSION, kind: 1, name_len: 9, ..Envelope::zeroed() };
        let bytes = |envelope: &Envelope, len: usize| {
            let mut bytes = bytemuck::bytes_of(envelope).to_vec();
            bytes.resize(len, 0);
            bytes
        };
        let refused = |envelope: Envelope, len| Envelope::of_bytes(&bytes(&envelope, len)).map(|_| ()).unwrap_err();
        assert_eq!(Envelope::of_bytes(&bytes(&right, 88)).unwrap().body, 88);
        assert_eq!(refused(right, 87), Malformed { field: "name_len", found: 9 });
        assert_eq!(refused(right, 71), Malformed { field: "length", found: 71 });
        assert_eq!(refused(Envelope { version: 2, ..right }, 88).field, "version");
        assert_eq!(refused(Envelope { kind: 0, ..right }, 88), Malformed { field: "kind", found: 0 });
        assert_eq!(refused(Envelope { kind: 8, ..right }, 88).field, "kind");
        assert_eq!(refused(Envelope { content: 6, ..right }, 88).field, "content");
        assert_eq!(refused(Envelope { reserved: 1, ..right }, 88).field, "reserved");
        assert_eq!(refused(Envelope { name_len: 201, ..right }, 4096).field, "name_len");
        assert_eq!(refused(Envelope { name_len: u16::MAX, ..right }, 88).field, "name_len");
    }
}
