//! A message in the receiver's hands, still lying in its sender's lane.

use super::{Priority, Ticket};
use crate::error::WrongLength;
use crate::lane::Reader;
use crate::record::Record;
use crate::region::Payload;
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::ops::Deref;

/// A received message. Dropping it releases it: the sender may use its bytes again, and it is not delivered again.
///
/// When the thread panics while it holds the message, or the process dies, it is *not* released, and the next `recv`
/// (here or in the next process) delivers it again. What a process that died had released behind a message that it
/// still held is delivered again too.
/// Several messages may be held at a time and released in any order. A message that is leaked holds its bytes, and
/// those of everything after it in its lane, until the receiver is attached again.
///
/// The bytes belong to another process, so they are copied, never borrowed; see [`as_slice`](MessageRef::as_slice) for the
/// exception.
#[must_use = "a message that is dropped is released"]
pub struct Message<'a> {
    body: MessageRef<'a>,
}

impl<'a> Message<'a> {
    /// A record that was just taken from `lane`.
    #[inline(always)]
    pub(super) fn new(lane: &'a Reader, record: Record, payload: Payload) -> Message<'a> {
        Message { body: MessageRef::new(lane, record, payload) }
    }

    /// Releases the message, also while the thread is panicking.
    #[inline]
    pub fn release(self) {
        self.body.release();
        std::mem::forget(self);
    }

    /// Puts the message back: the next `recv` that comes to its lane delivers it again, before anything newer. Other
    /// messages that are held are not affected.
    pub fn put_back(self) {
        self.body.lane.put_back(self.body.position);
        std::mem::forget(self);
    }
}

impl<'a> Deref for Message<'a> {
    type Target = MessageRef<'a>;

    #[inline(always)]
    fn deref(&self) -> &MessageRef<'a> {
        &self.body
    }
}

impl Drop for Message<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        let MessageRef { lane, position, next, .. } = self.body;
        let panicking = std::thread::panicking();
        // All that is rare is one call, so that what is usual is short enough to stand where the message ends.
        if panicking || !lane.release_next(position, next, 1) {
            lane.give_back_slowly(position, next, panicking);
        }
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("ticket", &self.ticket()).field("len", &self.len()).finish()
    }
}

/// What can be read of a message. A [`Message`] gives it back when it is dropped, those of a [`Batch`](super::Batch) go
/// back together.
pub struct MessageRef<'a> {
    lane: &'a Reader,
    payload: Payload,
    position: u64,
    /// Where the next record starts.
    next: u64,
    len: u32,
}

impl<'a> MessageRef<'a> {
    #[inline(always)]
    pub(super) fn new(lane: &'a Reader, record: Record, payload: Payload) -> MessageRef<'a> {
        MessageRef { lane, payload, position: record.position, next: record.next, len: record.len }
    }

    #[inline(always)]
    fn release(&self) {
        self.lane.release(self.position, self.next, 1);
    }

    /// The payload's length, bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether the payload is empty, which is legal.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Which message this is.
    #[inline]
    pub fn ticket(&self) -> Ticket {
        Ticket { lane: self.lane.number(), position: self.position }
    }

    /// The number of the lane it came through.
    #[inline]
    pub fn lane(&self) -> u32 {
        self.lane.number()
    }

    /// The priority of that lane.
    #[inline]
    pub fn priority(&self) -> Priority {
        Priority::of(self.lane.priority())
    }

    /// Its position in that lane, bytes.
    #[inline]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// How many messages its sender dropped, for want of room, between the one before and this one.
    #[inline]
    pub fn dropped_before(&self) -> u64 {
        self.lane.dropped_before(self.position)
    }

    /// Copies the payload to the start of `to`.
    ///
    /// # Panics
    /// When `to` is shorter than the payload.
    #[inline]
    pub fn copy_to(&self, to: &mut [u8]) {
        let to = &mut to[..self.len()];
        // SAFETY: `to` is that long.
        #[expect(unsafe_code, reason = "the copy takes a pointer")]
        unsafe {
            self.copy_out(to.as_mut_ptr());
        }
    }

    /// Copies part of the payload, from `at` on (a multiple of 8), to all of `to`.
    ///
    /// # Panics
    /// When the payload ends before, or `at` is no multiple of 8.
    #[inline]
    pub fn copy_part_to(&self, at: usize, to: &mut [u8]) {
        let end = at.checked_add(to.len());
        assert!(
            at.is_multiple_of(8) && end.is_some_and(|end| end <= self.len()),
            "no such part of {} bytes",
            self.len()
        );
        // SAFETY: just checked to lie inside the payload, which lies inside its record (I5).
        #[expect(unsafe_code, reason = "the copy takes a pointer")]
        unsafe {
            self.payload.copy_out(at, to.as_mut_ptr(), to.len());
        }
    }

    /// How many messages its sender has committed behind it that were not taken yet. Walks over them.
    pub fn count_newer(&self) -> usize {
        self.lane.count_ahead()
    }

    /// Appends the payload to `to`. Allocates when `to` has too little room.
    #[inline]
    pub fn append_to(&self, to: &mut Vec<u8>) {
        let len = self.len();
        to.reserve(len);
        // SAFETY: `reserve` made room for `len` bytes behind the end, and the copy initialises them.
        #[expect(unsafe_code, reason = "filling a vector without zeroing it first")]
        unsafe {
            self.copy_out(to.as_mut_ptr().add(to.len()));
            to.set_len(to.len() + len);
        }
    }

    /// The payload in a vector of its own. Allocates.
    #[inline]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.append_to(&mut bytes);
        bytes
    }

    /// The payload as a value, copied.
    #[inline(always)]
    pub fn read_pod<T: bytemuck::AnyBitPattern>(&self) -> Result<T, WrongLength> {
        if self.len() != size_of::<T>() {
            return Err(WrongLength { len: self.len(), expected: size_of::<T>() });
        }
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: `value` is as long as the payload, and any bytes are a `T`.
        #[expect(unsafe_code, reason = "filling a value without zeroing it first")]
        unsafe {
            self.copy_out(value.as_mut_ptr().cast());
            Ok(value.assume_init())
        }
    }

    /// Reads the payload piece by piece.
    pub fn reader(&self) -> MessageReader<'_> {
        MessageReader { message: self, at: 0 }
    }

    /// The payload where it lies, without a copy.
    ///
    /// # Safety
    /// No process writes to this record until the slice is gone. A sender of this library does not, but any process
    /// of the lane's user could: use this only when you trust what runs under that user.
    #[expect(unsafe_code, reason = "a reference into shared memory, on the caller's word")]
    #[inline]
    pub unsafe fn as_slice(&self) -> &[u8] {
        // SAFETY: I5: a record was found to end before the ring does; the rest is the caller's contract.
        unsafe { std::slice::from_raw_parts(self.payload.as_ptr(), self.len()) }
    }

    /// # Safety
    /// `to` is valid for writing `len` bytes.
    #[expect(unsafe_code, reason = "the contract is the callers'")]
    #[inline(always)]
    unsafe fn copy_out(&self, to: *mut u8) {
        // SAFETY: I5: a record was found to end before the ring does; the rest is the caller's contract.
        unsafe { self.payload.copy_out(0, to, self.len()) }
    }
}

impl fmt::Debug for MessageRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageRef").field("ticket", &self.ticket()).field("len", &self.len()).finish()
    }
}

/// Reads a message's payload piece by piece; made by [`MessageRef::reader`].
#[derive(Debug)]
pub struct MessageReader<'a> {
    message: &'a MessageRef<'a>,
    at: usize,
}

impl io::Read for MessageReader<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < to.len() && self.at < self.message.len() {
            // Copies start at multiples of 8; what was read in part is read again and cut.
            let skip = self.at % 8;
            let len = (self.message.len() - self.at).min(to.len() - done).min(CHUNK - skip);
            let mut chunk = [0; CHUNK];
            // SAFETY: `skip + len` is at most the chunk's length, and ends before the record does (I5).
            #[expect(unsafe_code, reason = "the copy takes a pointer")]
            unsafe {
                self.message.payload.copy_out(self.at - skip, chunk.as_mut_ptr(), skip + len);
            }
            to[done..done + len].copy_from_slice(&chunk[skip..skip + len]);
            done += len;
            self.at += len;
        }
        Ok(done)
    }
}

const CHUNK: usize = 4096;
