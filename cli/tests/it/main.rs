//! The command line, through its binary.

mod bad_input;
mod bench;
mod commands;
mod demo;
mod log;
mod mail;
mod mail_serve;
mod many;
mod metrics;
mod receiving;
mod support;
