//! The ledger: what is said of a message is said of it and of no other, who takes it back and who takes it do not miss each
//! other, and who waits for it is woken.
//!
//! A wake-up that is lost leaves the one who waits asleep, and loom reports a deadlock.
#![cfg(laneway_loom)]

use laneway::model::ledger::{Memory, Reader};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use loom_tests::check_within;

const PREEMPTIONS: usize = 4;

const PENDING: u8 = 1;
const TAKEN: u8 = 2;
const ACKED: u8 = 3;

#[test]
fn who_finds_a_state_finds_what_was_done_before_it() {
    loom::model(|| {
        let memory = Memory::new(1);
        let (writer, reader) = (memory.writer(), memory.reader());
        // In memory that the ledger knows nothing of.
        let done = Arc::new(AtomicBool::new(false));
        let reading = thread::spawn({
            let done = Arc::clone(&done);
            move || match reader.find(1) {
                None => {}
                // What stands beside a state belongs to it or to a later one.
                Some((TAKEN, at, extra)) => assert!([11, 12].contains(&at) && [11, 12].contains(&extra)),
                Some(found) => {
                    assert_eq!(found, (ACKED, 12, 12));
                    assert!(done.load(Ordering::Relaxed));
                }
            }
        });
        writer.write(1, TAKEN, 11);
        done.store(true, Ordering::Relaxed);
        writer.write(1, ACKED, 12);
        reading.join().unwrap();
    });
}

#[test]
fn what_is_said_of_a_message_is_not_taken_for_what_was_said_of_the_one_whose_entry_it_got() {
    while_an_entry_changes_hands(|reader| {
        let found = reader.find(1);
        assert!(matches!(found, None | Some((ACKED, 11, 11))), "{found:?}");
    });
}

#[test]
fn what_was_said_of_a_message_is_not_taken_for_what_is_said_of_the_one_that_got_its_entry() {
    while_an_entry_changes_hands(|reader| {
        let found = reader.find(2);
        assert!(matches!(found, None | Some((TAKEN, 22, 22))), "{found:?}");
    });
}

/// The reader is the thread that is started: loom remembers the last access to a word alone, and takes the writer's own loads
/// for that; so it would not try to let the reader begin later.
fn while_an_entry_changes_hands(read: fn(&Reader)) {
    loom::model(move || {
        let memory = Memory::new(1);
        let (writer, reader) = (memory.writer(), memory.reader());
        writer.write(1, ACKED, 11);
        let reading = thread::spawn(move || read(&reader));
        writer.write(2, TAKEN, 22);
        reading.join().unwrap();
        let reader = memory.reader();
        assert_eq!((reader.find(1), reader.find(2)), (None, Some((TAKEN, 22, 22))));
    });
}

#[test]
fn of_one_who_takes_a_message_back_and_one_who_takes_it_one_sees_the_other() {
    one_sees_the_other(|memory| memory);
}

#[test]
fn of_one_who_takes_a_message_back_and_one_who_takes_it_one_sees_the_other_where_the_kernel_makes_the_fences() {
    one_sees_the_other(Memory::asymmetric);
}

fn one_sees_the_other(fences: fn(Memory) -> Memory) {
    loom::model(move || {
        let memory = fences(Memory::new(1));
        let (writer, reader) = (memory.writer(), memory.reader());
        let word = Arc::new(AtomicBool::new(false));
        let taking = thread::spawn({
            let word = Arc::clone(&word);
            move || {
                writer.write(1, TAKEN, 11);
                let has_word = writer.has_word();
                // Who is told of a word finds it.
                assert!(!has_word || word.load(Ordering::Relaxed));
                has_word
            }
        });
        word.store(true, Ordering::Relaxed);
        assert!(reader.leave_word());
        let too_late = reader.find(1).is_some();
        assert!(taking.join().unwrap() || too_late, "it is handed out to one, and taken back by the other");
    });
}

#[test]
fn a_word_that_was_left_is_found_the_next_time() {
    loom::model(|| {
        let memory = Memory::new(1);
        let (writer, reader) = (memory.writer(), memory.reader());
        let leaving = thread::spawn(move || assert!(reader.leave_word()));
        // Each word is told of once: by the first look that can see it.
        let first = writer.has_word();
        leaving.join().unwrap();
        assert_eq!(writer.has_word(), !first);
    });
}

#[test]
fn who_waits_for_an_outcome_is_woken() {
    is_woken(|memory| memory);
}

#[test]
fn who_waits_for_an_outcome_is_woken_where_the_kernel_makes_the_fences() {
    is_woken(Memory::asymmetric);
}

fn is_woken(fences: fn(Memory) -> Memory) {
    check_within(PREEMPTIONS, move || {
        let memory = fences(Memory::new(2));
        let (writer, reader) = (memory.writer(), memory.reader());
        let writing = thread::spawn(move || {
            // Of another message, which wakes as well.
            writer.write(2, ACKED, 22);
            writer.wake();
            writer.write(1, ACKED, 11);
            writer.wake();
        });
        assert_eq!(reader.wait(1), (ACKED, 11, 11));
        writing.join().unwrap();
    });
}

#[test]
fn all_who_wait_are_woken() {
    // Two less, for a third thread: with more it takes minutes.
    check_within(PREEMPTIONS - 2, || {
        let memory = Memory::new(1);
        let writer = memory.writer();
        let waiting = [(); 2].map(|()| {
            let reader = memory.reader();
            thread::spawn(move || assert_eq!(reader.wait(1), (PENDING, 11, 11)))
        });
        writer.write(1, PENDING, 11);
        writer.wake();
        waiting.into_iter().for_each(|thread| thread.join().unwrap());
    });
}
