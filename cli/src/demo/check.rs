//! The receiver's book: what came from whom, and whether it is what was sent.

use super::parcel::{HEADER_LEN, Header, now_ns};
use super::protocol::{Counts, ReceiverReport};
use super::tally::{Tally, histogram};
use hdrhistogram::Histogram;

/// Everything the receiver knows.
pub(super) struct Book {
    accounts: Vec<Account>,
    torn: u64,
    paced: Histogram<u64>,
    streaming: Histogram<u64>,
}

/// What came from one sender.
#[derive(Default)]
struct Account {
    counts: Counts,
    /// The sequence after the highest one seen.
    next: u64,
    /// A bit for each sequence below `next`, set when it has come.
    seen: Vec<u64>,
}

impl Book {
    pub(super) fn new(senders: u32) -> Book {
        Book {
            accounts: (0..senders).map(|_| Account::default()).collect(),
            torn: 0,
            paced: histogram(),
            streaming: histogram(),
        }
    }

    /// Checks and enters a message.
    pub(super) fn enter(&mut self, payload: &[u8]) {
        let now = now_ns();
        let Some((header, line)) = payload.split_at_checked(HEADER_LEN) else {
            self.torn += 1;
            return;
        };
        let header: Header = bytemuck::pod_read_unaligned(header);
        match self.accounts.get_mut(header.sender as usize) {
            Some(account) if header.matches(line) => account.enter(header.sequence),
            _ => {
                self.torn += 1;
                return;
            }
        }
        let latencies = if header.paced == 1 { &mut self.paced } else { &mut self.streaming };
        latencies.saturating_record(now.saturating_sub(header.sent_ns));
    }

    /// The first sequence of this sender after all that came.
    pub(super) fn next_of(&self, sender: u32) -> u64 {
        self.accounts.get(sender as usize).map_or(0, |account| account.next)
    }

    /// Messages that came, by sender.
    pub(super) fn received(&self) -> Vec<u64> {
        self.accounts.iter().map(|account| account.counts.received).collect()
    }

    /// What there is to say of the messages.
    pub(super) fn report(self) -> ReceiverReport {
        ReceiverReport {
            senders: self.accounts.into_iter().map(|account| account.counts).collect(),
            torn: self.torn,
            paced: Tally::from(&self.paced),
            streaming: Tally::from(&self.streaming),
            ..ReceiverReport::default()
        }
    }
}

impl Account {
    fn enter(&mut self, sequence: u64) {
        self.counts.received += 1;
        let (word, bit) = ((sequence / 64) as usize, 1 << (sequence % 64));
        if word >= self.seen.len() {
            self.seen.resize(word + 1, 0);
        }
        if self.seen[word] & bit != 0 {
            self.counts.duplicated += 1;
            return;
        }
        self.seen[word] |= bit;
        self.counts.distinct += 1;
        if sequence < self.next {
            self.counts.out_of_order += 1;
        } else {
            self.next = sequence + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(sender: u32, sequence: u64) -> Vec<u8> {
        let header = Header { sequence, sent_ns: now_ns(), checksum: 0, sender, paced: 0 };
        [bytemuck::bytes_of(&header.sealed(b"line")), b"line"].concat()
    }

    #[test]
    fn what_went_wrong_is_counted_for_what_it_is() {
        let mut book = Book::new(2);
        for sequence in [0, 1, 4, 2, 4, 5] {
            book.enter(&message(1, sequence));
        }
        book.enter(&message(2, 0));
        book.enter(b"short");
        let mut torn = message(0, 0);
        *torn.last_mut().expect("a message has bytes") ^= 1;
        book.enter(&torn);
        assert_eq!((book.next_of(0), book.next_of(1)), (0, 6));
        let report = book.report();
        assert_eq!(report.torn, 3);
        assert_eq!(report.senders[0], Counts::default());
        assert_eq!(report.senders[1], Counts { received: 6, distinct: 5, duplicated: 1, out_of_order: 1 });
    }
}
