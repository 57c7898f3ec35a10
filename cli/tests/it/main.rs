//! The command line, through its binary.

mod bad_input;
mod commands;
mod demo;
mod many;
mod receiving;
mod support;
