//! What is taken from the lane whose turn it is: one message, or a batch.
//!
//! Not closures: those need not be inlined, and what is taken must be, or it goes through memory (performance.md).

use super::batch::Batch;
use super::message::Message;
use super::receiver::Receiver;
use crate::lane::Reader;

/// One way to take.
pub(super) trait Take<'a> {
    type Taken;
    /// Nothing, if the lane has no message at its front.
    fn take(&self, receiver: &'a Receiver, lane: &'a Reader) -> Option<Self::Taken>;
}

/// A message.
pub(super) struct One;

impl<'a> Take<'a> for One {
    type Taken = Message<'a>;

    #[inline(always)]
    fn take(&self, receiver: &'a Receiver, lane: &'a Reader) -> Option<Message<'a>> {
        let record = lane.message()?;
        let payload = lane.payload(&record);
        lane.take(record.position, record.next);
        receiver.spend_turn(record.next - record.position);
        Some(Message::new(lane, record, payload))
    }
}

/// A batch of at most so many messages.
pub(super) struct Many(pub(super) usize);

impl<'a> Take<'a> for Many {
    type Taken = Batch<'a>;

    #[inline(always)]
    fn take(&self, receiver: &'a Receiver, lane: &'a Reader) -> Option<Batch<'a>> {
        lane.message()?;
        lane.look_ahead();
        Some(Batch::new(receiver, lane, self.0, receiver.turn()))
    }
}
