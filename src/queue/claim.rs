//! Room in a lane that is written in pieces.

use super::{Sender, Sent};
use crate::error::WrongLength;
use crate::ring;
use std::io::{self, Write};

/// Room in a lane, to be written in pieces and then committed; made by [`Sender::claim`].
#[derive(Debug)]
#[must_use = "a claim that is dropped sends nothing"]
pub struct Claim<'a> {
    sender: &'a mut Sender,
    claim: ring::Claim,
    written: usize,
    /// The bytes since the last multiple of 8: shared memory is written in whole words.
    partial: [u8; 8],
}

impl<'a> Claim<'a> {
    #[inline]
    pub(super) fn new(sender: &'a mut Sender, claim: ring::Claim) -> Claim<'a> {
        Claim { sender, claim, written: 0, partial: [0; 8] }
    }

    /// The claimed length, bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.claim.len as usize
    }

    /// Whether the claimed length is 0.
    pub fn is_empty(&self) -> bool {
        self.claim.len == 0
    }

    /// Bytes written so far.
    pub fn written(&self) -> usize {
        self.written
    }

    /// Writes the next bytes.
    ///
    /// # Errors
    /// [`WrongLength`] when they are more than what is left; then none is written.
    pub fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), WrongLength> {
        let len = self.written + bytes.len();
        if len > self.len() {
            return Err(WrongLength { len, expected: self.len() });
        }
        let begun = self.written % 8;
        if begun > 0 {
            let (head, rest) = bytes.split_at(bytes.len().min(8 - begun));
            self.partial[begun..begun + head.len()].copy_from_slice(head);
            self.sender.fill(&self.claim, self.written - begun, &self.partial[..begun + head.len()]);
            self.written += head.len();
            bytes = rest;
        }
        if !bytes.is_empty() {
            self.sender.fill(&self.claim, self.written, bytes);
            let tail = &bytes[bytes.len() & !7..];
            self.partial[..tail.len()].copy_from_slice(tail);
            self.written = len;
        }
        Ok(())
    }

    /// Sends the message.
    ///
    /// # Errors
    /// [`WrongLength`] when less was written than claimed; then nothing is sent.
    #[inline]
    pub fn commit(self) -> Result<Sent, WrongLength> {
        if self.written != self.len() {
            return Err(WrongLength { len: self.written, expected: self.len() });
        }
        let sent = self.sender.commit_filled(self.claim);
        self.sender.ring();
        Ok(sent)
    }

    /// Gives the room back, as dropping the claim does.
    pub fn abort(self) {}

    /// Where the payload lies, for writing it in place.
    ///
    /// Writing up to [`len`](Self::len) bytes there, before the claim is gone, is sound as long as no other process
    /// writes this lane; then say so by [`assume_written`](Self::assume_written).
    #[inline]
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.sender.payload(&self.claim)
    }

    /// Says that the whole payload was written through [`as_mut_ptr`](Self::as_mut_ptr).
    ///
    /// # Safety
    /// All [`len`](Self::len) bytes were written since the claim was made: otherwise whatever lay there is sent.
    #[expect(unsafe_code, reason = "the caller vouches for bytes that we did not see")]
    #[inline]
    pub unsafe fn assume_written(&mut self) {
        self.written = self.len();
    }
}

impl Write for Claim<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fitting = bytes.len().min(self.len() - self.written);
        Claim::write_all(self, &bytes[..fitting]).map_err(io::Error::other)?;
        Ok(fitting)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
