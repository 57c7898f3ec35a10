//! Messages that show what happened to them: which lane, which number, which one before it was promised, and then bytes
//! that follow from these.

/// The least length of a message.
const HEAD: usize = 32;

/// What a message says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mail {
    pub(crate) epoch: u64,
    pub(crate) lane: u32,
    pub(crate) number: u64,
    /// The last message in this lane that was promised when this one was written. Between them lie only those of
    /// senders that were killed in the middle of sending them.
    pub(crate) after: u64,
}

impl Mail {
    fn rng(&self) -> fastrand::Rng {
        let mixed = [self.epoch, u64::from(self.lane), self.number, self.after]
            .into_iter()
            .fold(0u64, |hash, word| (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23));
        fastrand::Rng::with_seed(mixed)
    }

    /// Its bytes: mostly few, now and then many, sometimes more than a small ring has.
    pub(crate) fn write(&self, max: usize) -> Vec<u8> {
        let mut rng = self.rng();
        let len = match rng.u32(0..100) {
            0..80 => rng.usize(HEAD..200),
            80..97 => rng.usize(HEAD..1500),
            _ => rng.usize(HEAD..9000),
        };
        let mut bytes = vec![0; len.min(max).max(HEAD)];
        rng.fill(&mut bytes);
        for (at, word) in [self.epoch, u64::from(self.lane), self.number, self.after].into_iter().enumerate() {
            bytes[at * 8..][..8].copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    /// What a message says, if every byte is as it was written.
    pub(crate) fn read(bytes: &[u8], max: usize) -> Option<Mail> {
        let word = |at: usize| Some(u64::from_ne_bytes(bytes.get(at * 8..at * 8 + 8)?.try_into().ok()?));
        let mail = Mail { epoch: word(0)?, lane: word(1)? as u32, number: word(2)?, after: word(3)? };
        (mail.write(max) == bytes).then_some(mail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_that_changed_shows() {
        let mail = Mail { epoch: 1, lane: 2, number: 3, after: 2 };
        let bytes = mail.write(4000);
        assert_eq!(Mail::read(&bytes, 4000), Some(mail));
        for at in 0..bytes.len() {
            let mut torn = bytes.clone();
            torn[at] ^= 1;
            assert_eq!(Mail::read(&torn, 4000), None, "byte {at}");
        }
        assert_eq!(Mail::read(&bytes[..bytes.len() - 1], 4000), None);
    }
}
