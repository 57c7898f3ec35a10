//! Receiving as iteration.

use super::message::Message;
use super::receiver::Receiver;
use crate::error::{RecvError, TryRecvError};

/// Messages until every lane has closed; made by [`Receiver::iter`].
#[derive(Debug)]
pub struct Iter<'a> {
    pub(super) receiver: &'a Receiver,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        loop {
            match self.receiver.recv() {
                Ok(message) => return Some(message),
                Err(RecvError::Corrupt(_)) => {}
                Err(_) => return None,
            }
        }
    }
}

impl<'a> IntoIterator for &'a Receiver {
    type Item = Message<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Messages for as long as there are some; made by [`Receiver::try_iter`].
#[derive(Debug)]
pub struct TryIter<'a> {
    pub(super) receiver: &'a Receiver,
}

impl<'a> Iterator for TryIter<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        loop {
            match self.receiver.try_recv() {
                Ok(message) => return Some(message),
                Err(TryRecvError::Corrupt(_)) => {}
                Err(_) => return None,
            }
        }
    }
}
