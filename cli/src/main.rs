//! The command line of laneway.

mod args;
mod bench;
mod completions;
mod create;
mod deliver;
mod demo;
mod doctor;
mod drain;
mod figures;
mod log;
mod ls;
mod mail;
mod man;
mod metrics;
mod observatory;
mod onlook;
mod open_files;
mod output;
mod pace;
mod place;
mod plain;
mod progress;
mod recv;
mod rm;
mod send;
mod stat;
mod team;
mod temporary;
mod top;
mod trim;
mod units;
mod web;

use args::{Cli, Command};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Cli { json, log, command } = Cli::parse();
    if let Some(Err(error)) = log.map(log::start) {
        return output::failed(error);
    }
    let done = match command {
        Command::Create(args) => create::run(args, json),
        Command::Ls => ls::run(json),
        Command::Doctor(args) => doctor::run(args, json),
        Command::Metrics(args) => metrics::run(args, json),
        Command::Rm(args) => rm::run(args, json),
        Command::Stat(args) => stat::run(args, json),
        Command::Top(args) => top::run(args, json),
        Command::Trim(args) => trim::run(args, json),
        Command::Tail(args) => onlook::tail(args, json),
        Command::Peek(args) => onlook::peek(args, json),
        Command::Dump(args) => onlook::dump(args, json),
        Command::Record(args) => onlook::record(args, json),
        Command::Replay(args) => onlook::replay(args, json),
        Command::Send(args) => send::run(args, json),
        Command::Recv(args) => recv::run(args, json),
        Command::Drain(args) => drain::run(args, json),
        Command::Post(args) => mail::post(args, json),
        Command::Status(args) => mail::status(args, json),
        Command::Wait(args) => mail::wait(args, json),
        Command::Cancel(args) => mail::cancel(args, json),
        Command::Request(args) => mail::request(args, json),
        Command::Serve(args) => mail::serve(args, json),
        Command::Wake(args) => mail::wake(args, json),
        Command::Dead(command) => mail::dead(command, json),
        Command::Mail(command) => mail::office(command, json),
        Command::Demo(args) => demo::run(args, json),
        Command::Observatory(args) => observatory::run(args, json),
        Command::Bench(args) => bench::run(args, json),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
        Command::DemoProcess(role) => demo::run_process(role),
        Command::BenchProcess(args) => bench::run_process(args),
    };
    done.unwrap_or_else(output::failed)
}
