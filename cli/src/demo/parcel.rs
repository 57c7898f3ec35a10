//! A message of the demo: a header that lets the receiver check everything, and a line.

use bytemuck::{Pod, Zeroable};
use nix::time::{ClockId, clock_gettime};

/// The header's length, bytes.
pub(super) const HEADER_LEN: usize = size_of::<Header>();

/// What stands before the line.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Header {
    /// Counts the sender's messages, from 0. A sender that was killed and started again counts on.
    pub(super) sequence: u64,
    /// When the message was sent, nanoseconds of the monotonic clock, which all processes share.
    pub(super) sent_ns: u64,
    /// Over everything else: a message of which part is another's does not match it.
    pub(super) checksum: u64,
    /// Which sender sent it.
    pub(super) sender: u32,
    /// 1 while the sender pauses after each message, 0 when it sends as fast as it can.
    pub(super) paced: u32,
}

impl Header {
    /// The same header with its checksum.
    pub(super) fn sealed(mut self, line: &[u8]) -> Header {
        self.checksum = self.sum(line);
        self
    }

    /// Whether the checksum is right.
    pub(super) fn matches(&self, line: &[u8]) -> bool {
        self.checksum == self.sum(line)
    }

    fn sum(&self, line: &[u8]) -> u64 {
        let words = [self.sequence, self.sent_ns, u64::from(self.sender) << 32 | u64::from(self.paced)];
        line.chunks(8).map(word).chain(words).fold(line.len() as u64, |sum, word| {
            // The step of FNV-1a, a word at a time, and a turn so that high bits count too.
            (sum ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29)
        })
    }
}

fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

/// Now, nanoseconds of the monotonic clock.
pub(super) fn now_ns() -> u64 {
    // It fails only for a clock that does not exist, and this one does.
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |now| (now.tv_sec() as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_bit_anywhere_is_found() {
        let header = Header { sequence: 7, sent_ns: 1 << 40, checksum: 0, sender: 2, paced: 1 };
        let line = *b"a line of text";
        let sealed = header.sealed(&line);
        assert!(sealed.matches(&line));
        for bit in 0..line.len() * 8 {
            let mut torn = line;
            torn[bit / 8] ^= 1 << (bit % 8);
            assert!(!sealed.matches(&torn), "bit {bit} of the line");
        }
        for bit in 0..HEADER_LEN * 8 {
            let mut bytes: [u8; HEADER_LEN] = bytemuck::cast(sealed);
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!bytemuck::cast::<_, Header>(bytes).matches(&line), "bit {bit} of the header");
        }
        assert!(!sealed.matches(b"a line of tex"));
        assert!(!sealed.matches(b"a line of text\0"));
    }
}
