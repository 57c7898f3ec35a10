//! The reading side of a ring and its segments over arbitrary bytes, with nothing around it: the most inputs a second.
#![no_main]

use laneway::layout::{self, slot};
use laneway::{Fuzzed, Part, Plan, Queue};
use laneway_fuzz::input::{Input, scribble};
use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;

thread_local!(static QUEUE: RefCell<Fuzzed> = RefCell::new(Fuzzed::new(
    &Queue::options().capacity(4096).overflow_limit(8192).max_message(4080).max_lanes(1)
)));

fuzz_target!(|data: &[u8]| {
    QUEUE.with_borrow_mut(|queue| {
        let mut input = Input(data);
        let mut plan = input.short();
        let at = input.word();
        queue.store(Part::Receiver, layout::slot_offset(0) + slot::READ_POS, at);
        scribble(&mut input, queue, 0, at);
        queue.read(0, || {
            let now = plan % 8;
            plan = plan.rotate_right(3);
            match now {
                0 => Plan::Hold,
                1 => Plan::PutBack,
                2 => Plan::Batch,
                3 => Plan::EndBatch,
                _ => Plan::Release,
            }
        });
        queue.undo();
    });
});
