//! What one look at a queue or a mailbox shows.

use laneway::mailbox::{Mailbox, Stats, Status};
use laneway::{Error, LaneStat, Observer, Pressure, Queue, QueueStat};
use std::collections::BTreeMap;
use std::time::Duration;

/// The numbers of a queue or a mailbox at one look.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Figures {
    /// The queue, or the one in which a mailbox's mail lies.
    pub queue: QueueStat,
    /// What is counted of a mailbox besides; none of a queue.
    pub mail: Option<Stats>,
    /// Messages that wait, or are taken and not settled; in a mailbox also those that are kept for later.
    pub waiting: u64,
    /// Messages sent, over all lanes.
    pub sent: u64,
    /// Messages released by the receiver, over all lanes.
    pub received: u64,
    /// Times that a sender found no room.
    pub full_events: u64,
    /// Lanes that a sender holds.
    pub senders: usize,
    /// Lanes that were retired because of what was found in them, and those whose files cannot be used.
    pub poisoned: usize,
    /// Bytes of ring that each sender has.
    pub capacity: u64,
    /// Bytes that wait in the fullest lane.
    pub deepest: u64,
    /// How long the oldest message that waits has been there; of a queue at least so long, as far as was looked.
    pub oldest: Option<Duration>,
    /// Who sends, by lanes.
    pub flows: Vec<Flow>,
}

/// A lane, as a way from somebody to the receiver.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Flow {
    /// The lane.
    pub lane: u32,
    /// What the sender calls itself in the envelopes of its mail, once a message of it was seen.
    pub from: Option<String>,
    /// Whether a sender holds the lane.
    pub alive: bool,
    /// Messages that came through it.
    pub sent: u64,
    /// Messages a second, since the look before.
    pub rate: f64,
}

/// A closer look at one queue or mailbox.
#[derive(Debug)]
#[non_exhaustive]
pub struct Detail {
    /// Its lanes.
    pub lanes: Vec<LaneStat>,
    /// The lanes whose files cannot be used, each with a sentence.
    pub unreadable: Vec<(u32, String)>,
    /// Messages that wait or are taken, the oldest of each lane first.
    pub messages: Vec<Message>,
    /// What became of the messages of a mailbox that somebody has looked at, the last change first.
    pub outcomes: Vec<(laneway::mailbox::Ticket, Status)>,
}

/// A message, as an onlooker sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// Its ticket, in the form of a queue's or of a mailbox's.
    pub ticket: String,
    /// Who sent it, by its own word; none in a queue, and empty when it did not say.
    pub from: Option<String>,
    /// How long ago it was sent; none in a queue.
    pub age: Option<Duration>,
    /// What it says.
    pub body: Vec<u8>,
}

/// A queue or a mailbox that is open, for looking at it.
pub(crate) enum Source {
    Queue(Observer),
    Mailbox(Box<Mailbox>),
}

/// Who sends through a lane, and how far it was at the last look.
#[derive(Debug, Default)]
pub(crate) struct Sender {
    name: Option<String>,
    sent: u64,
    write_pos: u64,
    known: bool,
}

impl Source {
    pub(crate) fn of_queue(queue: &Queue) -> Result<Source, Error> {
        Ok(Source::Queue(queue.observe()?))
    }

    fn observer(&mut self) -> &mut Observer {
        match self {
            Source::Queue(observer) => observer,
            Source::Mailbox(mailbox) => mailbox.observer(),
        }
    }

    /// Looks at it; gives its lanes too.
    pub(crate) fn look(
        &mut self,
        seconds: f64,
        senders: &mut BTreeMap<u32, Sender>,
    ) -> Result<(Figures, Vec<LaneStat>), Error> {
        let observer = self.observer();
        let (queue, lanes) = observer.look()?;
        let capacity = observer.capacity();
        let unreadable = observer.unreadable().count();
        let (mail, oldest) = match self {
            Source::Queue(_) => (None, None),
            Source::Mailbox(mailbox) => (Some(mailbox.stats()?), mailbox.oldest()?),
        };
        senders.retain(|lane, _| lanes.iter().any(|stat| stat.lane == *lane));
        let mut flows = Vec::new();
        for lane in &lanes {
            let sender = senders.entry(lane.lane).or_default();
            self.name_sender(sender, lane)?;
            let rate = match lane.sent.checked_sub(sender.sent) {
                Some(messages) if sender.known && seconds > 0.0 => messages as f64 / seconds,
                _ => 0.0,
            };
            (sender.sent, sender.write_pos, sender.known) = (lane.sent, lane.write_pos, true);
            let from = sender.name.clone();
            flows.push(Flow { lane: lane.lane, from, alive: lane.sender_alive, sent: lane.sent, rate });
        }
        let figures = Figures {
            queue,
            waiting: mail.as_ref().map_or(queue.depth_messages, |mail| mail.pending + mail.taken),
            mail,
            sent: sum(&lanes, |lane| lane.sent),
            received: sum(&lanes, |lane| lane.received),
            full_events: sum(&lanes, |lane| lane.full_events),
            senders: lanes.iter().filter(|lane| lane.sender_alive).count(),
            poisoned: lanes.iter().filter(|lane| lane.damage.is_some()).count() + unreadable,
            capacity,
            deepest: lanes.iter().map(|lane| lane.depth_bytes).max().unwrap_or(0),
            oldest,
            flows,
        };
        Ok((figures, lanes))
    }

    /// Reads who sends through a lane from the first message since the last look, or from the oldest that waits.
    fn name_sender(&mut self, sender: &mut Sender, lane: &LaneStat) -> Result<(), Error> {
        let Source::Mailbox(mailbox) = self else { return Ok(()) };
        let position = if sender.known { sender.write_pos } else { lane.read_pos };
        if position >= lane.write_pos {
            return Ok(());
        }
        let message = mailbox.observer().message_from(lane.lane, position)?;
        if let Some(mail) = message.and_then(|message| mailbox.read_mail(message)) {
            sender.name = Some(mail.from).filter(|name| !name.is_empty());
        }
        Ok(())
    }

    pub(crate) fn detail(&mut self, messages: usize, outcomes: usize) -> Result<Detail, Error> {
        let observer = self.observer();
        let lanes = observer.lanes()?;
        let unreadable = observer.unreadable().collect();
        let (messages, outcomes) = match self {
            Source::Queue(observer) => {
                let of_queue = |message: laneway::Peeked| Message {
                    ticket: message.ticket.to_string(),
                    from: None,
                    age: None,
                    body: message.payload,
                };
                (observer.peek(messages)?.into_iter().map(of_queue).collect(), Vec::new())
            }
            Source::Mailbox(mailbox) => {
                let of_mailbox = |mail: laneway::mailbox::Peeked| Message {
                    ticket: mail.ticket.to_string(),
                    from: Some(mail.from),
                    age: Some(mail.age),
                    body: mail.body,
                };
                let messages = mailbox.peek(messages)?.into_iter().map(of_mailbox).collect();
                (messages, mailbox.outcomes(outcomes))
            }
        };
        Ok(Detail { lanes, unreadable, messages, outcomes })
    }
}

fn sum(lanes: &[LaneStat], of: impl Fn(&LaneStat) -> u64) -> u64 {
    lanes.iter().map(of).fold(0, u64::saturating_add)
}

impl Figures {
    /// The highest pressure of any lane.
    pub fn pressure(&self) -> Pressure {
        self.queue.pressure
    }

    /// How full the fullest lane is: bytes that wait in it, by bytes of its ring; more than 1 when it has grown.
    pub fn fill(&self) -> f64 {
        self.deepest as f64 / self.capacity as f64
    }

    /// Half of the messages of a mailbox were handed out within so long.
    pub fn delivery_p50(&self) -> Option<Duration> {
        self.mail.as_ref()?.delivery_p50
    }

    /// 99 of 100 messages of a mailbox were handed out within so long.
    pub fn delivery_p99(&self) -> Option<Duration> {
        self.mail.as_ref()?.delivery_p99
    }
}
