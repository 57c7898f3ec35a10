//! A receiver over arbitrary bytes in a lane: its words, its table, its ring, what lies behind it; and over an arbitrary
//! position where the last receiver stopped.
#![no_main]

use laneway::Part;
use laneway::layout::{self, slot};
use laneway_fuzz::input::{Input, scribble};
use laneway_fuzz::{LIAR, Stage};
use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;

thread_local!(static STAGE: RefCell<Stage> = RefCell::default());

fuzz_target!(|data: &[u8]| {
    STAGE.with_borrow_mut(|stage| {
        stage.clear();
        let mut input = Input(data);
        let calls = input.byte();
        let at = input.word();
        scribble(&mut input, &stage.queue, LIAR, at);
        stage.queue.store(Part::Receiver, layout::slot_offset(LIAR as usize) + slot::READ_POS, at);
        (0..usize::from(calls % 4)).for_each(|number| stage.send(8 + 100 * number));
        let receiver = stage.receiver();
        if calls & 4 != 0 {
            stage.receive(&receiver);
        }
        if calls & 8 != 0 {
            stage.drain(&receiver);
        }
        stage.go_on(&receiver);
        stage.queue.observe(LIAR, at, 64);
        drop(receiver);
        if calls & 16 != 0 {
            let receiver = stage.receiver();
            stage.go_on(&receiver);
        }
    });
});
