//! The mistakes, by the names that they have in the catalogue of attacks on the design. Where this design has no such
//! mechanism, the bug is the nearest that it can have, and says so.

use super::Judge;

/// A mistake.
pub(super) struct Bug {
    /// In the catalogue.
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) file: &'static str,
    /// What stands there once.
    pub(super) from: &'static str,
    pub(super) to: &'static str,
    pub(super) judge: Judge,
}

const MAILBOX: Judge = Judge::Check("mailbox");

pub(super) const BUGS: &[Bug] = &[
    // There: the sender clears the receiver's flag and dies before it wakes. Here nobody writes the other's count; what can
    // outlive a ringer is the belief that somebody has rung for this sleep.
    Bug {
        name: "A1",
        what: "who comes to a sleeper takes it that somebody has rung for this sleep",
        file: "src/bell.rs",
        from: "Ringer { sleeps, seq, rung_at, fences, rung: Cell::new(0), rings: Cell::new(0) }",
        to: "Ringer { rung: Cell::new(sleeps.load()), sleeps, seq, rung_at, fences, rings: Cell::new(0) }",
        judge: Judge::Test("wakes", "a_sender_that_comes_while_the_receiver_sleeps_wakes_it"),
    },
    Bug {
        name: "A2",
        what: "the word that is slept on does not change with the ring",
        file: "src/bell.rs",
        from: "self.seq.fetch_add(1, Ordering::Release);",
        to: "self.seq.fetch_add(0, Ordering::Release);",
        judge: Judge::Model("a_message_wakes_the_receiver"),
    },
    // There: a bit in a bitmap of ready lanes is not set again when it seems to be set. Here there is no bitmap; what is
    // left out when it seems to be done is the ring.
    Bug {
        name: "A5",
        what: "no ring when one was given before, for whatever sleep",
        file: "src/bell.rs",
        from: "if count == self.rung.get() {",
        to: "if self.rung.get() != 0 {",
        judge: Judge::Model("each_message_wakes_the_receiver"),
    },
    Bug {
        name: "A6",
        what: "no terminator: what follows the last record is a record of the last lap",
        file: "src/ring/writer.rs",
        from: "let clear_to = if next < self.clear_to { self.clear_to } else { self.terminate(next) };",
        to: "let clear_to = self.clear_to.max(next + 8);",
        judge: Judge::Unit("ring::tests::many_laps_in_step_lose_nothing_and_never_show_a_word_of_the_last_lap"),
    },
    // There: two handles share a lock because one was duplicated. Here they would because it is the process's.
    Bug {
        name: "B4",
        what: "a lock that two handles of one process both have",
        file: "src/sys/lock.rs",
        from: "FcntlArg::F_OFD_SETLK(",
        to: "FcntlArg::F_SETLK(",
        judge: Judge::Test("processes", "more_senders_than_lanes_are_refused_until_one_leaves"),
    },
    Bug {
        name: "C1",
        what: "no fence between the commit and the look at who sleeps",
        file: "src/bell.rs",
        from: "self.fences.light();",
        to: "",
        judge: Judge::Model("a_message_wakes_the_receiver"),
    },
    Bug {
        name: "C7",
        what: "one is woken, which may be somebody else",
        file: "src/sys/futex.rs",
        from: "libc::FUTEX_WAKE, i32::MAX",
        to: "libc::FUTEX_WAKE, 1",
        judge: Judge::Test("wakes", "whoever_else_waits_on_the_bell_takes_no_wake_up_from_the_receiver"),
    },
    Bug {
        name: "D2",
        what: "a segment that was given back is used again without being reserved",
        file: "src/growth.rs",
        from: "keep || !region.give_back(held.reserved.clone())",
        to: "keep || region.give_back(held.reserved.clone())",
        judge: Judge::Model("no_segment_is_given_back_that_the_reader_has_not_passed"),
    },
    // There: two growers, of which one makes the file shorter. Here a lane has one; it grows where there is a gap, which may
    // lie before what is in use.
    Bug {
        name: "D3",
        what: "a file is made as long as it must be, and with that shorter",
        file: "src/sys/space.rs",
        from: "    allocate(file, FallocateFlags::empty(), bytes)\n",
        to: "    file.set_len(bytes.end)?;\n    allocate(file, FallocateFlags::empty(), bytes)\n",
        judge: Judge::Test("overflow", "traffic_that_never_stops_goes_back_and_forth_between_the_ring_and_segments"),
    },
    Bug {
        name: "F1",
        what: "the length is loaded again after it was checked",
        file: "src/record.rs",
        from: "Some(Record { position, next: likely.span(len).end(position), len, kind: Kind::Data })",
        to: "let again = load_acquire(window.word(position)) as u32;
    Some(Record { position, next: likely.span(len).end(position), len: again, kind: Kind::Data })",
        judge: Judge::Model("a_length_that_changes_while_it_is_judged_is_never_believed_unchecked"),
    },
    Bug {
        name: "F5",
        what: "the receiver's position is believed whatever it is",
        file: "src/ring/writer.rs",
        from: "if found < self.read_copy || found > self.write_pos || !found.is_multiple_of(8) {",
        to: "if !found.is_multiple_of(8) {",
        judge: Judge::Unit("ring::tests::a_reader_position_that_lies_is_a_fault_and_is_never_used"),
    },
    // There: one look at each lane decides which message of all is the next. Here there is no order across lanes; what one
    // look at the lanes decides is that all have ended.
    Bug {
        name: "ALG0",
        what: "one look at the lanes that are known decides that the queue has ended",
        file: "src/queue/receiver.rs",
        from: "all_known() && self.find_lanes().is_ok() && all_known() && !self.has_mail()",
        to: "all_known() && !self.has_mail()",
        judge: Judge::Test("attach", "a_lane_of_which_nobody_told_keeps_the_queue_open"),
    },
    // Of mailboxes, which the catalogue does not know: what is held behind is said nowhere else.
    Bug {
        name: "M1",
        what: "messages that were kept do not count among those in hands, and the ledger has no room for what is acked",
        file: "src/mailbox/inbox.rs",
        from: "let (taken, most) = (self.in_hands.get(), u64::from(self.settings.outcomes / 4));",
        to: "let (taken, most) = (self.held.borrow().len() as u64, u64::from(self.settings.outcomes / 4));",
        judge: Judge::Test(
            "mailbox_attacks",
            "many::what_was_acked_behind_one_that_is_held_is_settled_also_when_kept_ones_are_held",
        ),
    },
    // There: the hint is read before the word that bounds the look. Here the word that says that lanes have come is taken
    // after the look at the directory instead of before.
    Bug {
        name: "ALG5",
        what: "a lane that comes during the listing counts as listed",
        file: "src/queue/receiver.rs",
        from: "self.seen_epoch.set(epoch);",
        to: "let _ = epoch;\n                self.seen_epoch.set(self.lanes_epoch.before_listing());",
        judge: Judge::Test("attach", "a_lane_that_comes_while_others_are_looked_for_is_found"),
    },
    // Of mailboxes, too: what is done in the wrong order, or forgotten, and shows only when somebody is killed just then.
    Bug {
        name: "M2",
        what: "a message is released from its lane before the ledger says that it is acked",
        file: "src/mailbox/settle.rs",
        from: "        if !spot.is_some_and(|spot| self.ledger.write_again(spot, key, &entry)) {
            self.write_entry(key, &entry);
        }
        self.ledger.wake();
        self.counters.add(Count::Acked);
        self.finish(key, source);
",
        to: "        self.finish(key, source);
        if !spot.is_some_and(|spot| self.ledger.write_again(spot, key, &entry)) {
            self.write_entry(key, &entry);
        }
        self.ledger.wake();
        self.counters.add(Count::Acked);
",
        judge: MAILBOX,
    },
    Bug {
        name: "M3",
        what: "a message is released from its lane before it is in the log of those that are kept",
        file: "src/mailbox/settle.rs",
        from: "        match self.keep(key, due, attempts, Reason::Retry, uid, delivery.bytes()) {
",
        to: "        let bytes = delivery.bytes();
        if let Some(Source::Lane(message)) = delivery.source.take_if(|source| matches!(source, Source::Lane(_))) {
            message.release();
        }
        match self.keep(key, due, attempts, Reason::Retry, uid, bytes) {
",
        judge: MAILBOX,
    },
    Bug {
        name: "M4",
        what: "the ledger says that a message is a dead letter before it is one",
        file: "src/mailbox/settle.rs",
        from: "        match self.bury(key, Reason::Attempts, attempts, uid, bytes) {
",
        to: "        self.settle(key, State::DeadLettered, Reason::Attempts, attempts, now);
        match self.bury(key, Reason::Attempts, attempts, uid, bytes) {
",
        judge: MAILBOX,
    },
    Bug {
        name: "M5",
        what: "what was kept and settled by one who died before it could say so there is kept on",
        file: "src/mailbox/inbox.rs",
        from: "settled.into_iter().for_each(|key| self.done_keeping(key));",
        to: "drop(settled);",
        judge: MAILBOX,
    },
    Bug {
        name: "M6",
        what: "what was kept is struck out before the ledger says that it is acked",
        file: "src/mailbox/settle.rs",
        from: "        let entry = self.entry(State::Acked, Reason::None, attempts, self.clock.now());
",
        to: "        let entry = self.entry(State::Acked, Reason::None, attempts, self.clock.now());
        self.kept.borrow_mut().done(key);
",
        judge: MAILBOX,
    },
    Bug {
        name: "M7",
        what: "a place of the ledger changes hands with what was said of the last one",
        file: "src/ledger.rs",
        from: "self.book.word(at, entry::STATE).store(0, Ordering::Relaxed);",
        to: "",
        judge: MAILBOX,
    },
    Bug {
        name: "M8",
        what: "word that there is a newer message is left before that is sent",
        file: "src/mailbox/handle.rs",
        from: "let message = mailbox.send_in(&envelope, priority, body)?;",
        to: "if envelope.supersede != 0 {
            let nobody = queue::Ticket { lane: 0, position: 0 };
            let _ = mailbox.leave_word(&Word::supersede(nobody, envelope.supersede, envelope.sent_at));
        }
        let message = mailbox.send_in(&envelope, priority, body)?;",
        judge: MAILBOX,
    },
    Bug {
        name: "M9",
        what: "a message that comes again is taken for a second one with its key",
        file: "src/mailbox/judge.rs",
        from: "Some(first) if first.extra != key.word() =>",
        to: "Some(_) =>",
        judge: MAILBOX,
    },
];
