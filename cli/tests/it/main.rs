//! The command line, through its binary.

mod ansi;
mod bad_input;
mod bench;
mod browser;
mod commands;
mod demo;
mod doctor;
mod log;
mod mail;
mod mail_serve;
mod many;
mod metrics;
mod observatory;
mod onlook;
mod page;
mod receiving;
mod support;
mod tmux;
mod top;
mod tour;
mod web;
