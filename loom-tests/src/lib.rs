//! The loom models of laneway are the tests of this crate; README.md says what they show and how to run them.
#![cfg(laneway_loom)]

/// Checks every execution of `model` in which the scheduler takes the processor away from a thread at most this many
/// times; threads that sleep or end give it up as often as they like. For models that would otherwise take minutes.
pub fn check_within(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}
