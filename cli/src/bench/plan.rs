//! From the words of the command line to jobs.

use super::job::{Job, Work};
use super::overflow;
use crate::args::{Bench, Measure, Wait};
use crate::units::bytes;
use anyhow::{Result, bail};
use std::time::Duration;

/// For how long each figure is measured, and how long somebody has to be idle for it to show.
const DURATION: Duration = Duration::from_secs(3);
const IDLE: Duration = Duration::from_secs(5);
/// For how long `laneway top` is measured, whose pieces are long.
const WATCHED: Duration = Duration::from_secs(20);
const SENDERS: u32 = 4;
const WAKES: u32 = 1_000;
const FAN_IN_RATE: u32 = 20_000;
/// A message carries a number or a stamp.
const LEAST_PAYLOAD: u64 = 8;
/// So that its two rings fit in most places.
const MOST_PAYLOAD: u64 = 16 << 20;

/// What is to be measured, in order.
pub(super) fn jobs(args: &Bench) -> Result<Vec<Job>> {
    check(args)?;
    let jobs: Vec<Job> = match args.measure {
        Measure::Limits => limits(args),
        Measure::Rtt => rtt(args),
        Measure::Throughput => throughput(args),
        Measure::Wake => wake(args, &[Wait::Park]),
        Measure::FanIn => fan_in(args),
        Measure::Idle => idle(args),
        Measure::Overflow => overflow(args),
        Measure::Watched => watched(args),
        Measure::All => {
            let wakes = wake(args, &[Wait::Park, Wait::Adaptive]);
            [limits(args), rtt(args), throughput(args), wakes, fan_in(args), idle(args), overflow(args)].concat()
        }
    };
    Ok(jobs)
}

/// Says what cannot be measured, with the numbers, and what the figure does not ask for.
fn check(args: &Bench) -> Result<()> {
    use Measure::{All, FanIn, Overflow, Rtt, Throughput, Wake, Watched};
    for (option, is_given, who) in [
        ("payload", !args.payload.is_empty(), &[Rtt, Throughput, Wake, FanIn, Overflow, Watched, All][..]),
        ("wait", args.wait.is_some(), &[Rtt, Throughput, Wake, FanIn, All]),
        ("rate", args.rate.is_some(), &[Wake, FanIn, All]),
        ("senders", args.senders.is_some(), &[FanIn, All]),
    ] {
        if is_given && !who.contains(&args.measure) {
            bail!("--{option} says nothing to `laneway bench {}`", args.measure);
        }
    }
    let most = if matches!(args.measure, Overflow | All) { overflow::MOST_PAYLOAD as u64 } else { MOST_PAYLOAD };
    if let Some(payload) = args.payload.iter().find(|payload| !(LEAST_PAYLOAD..=most).contains(payload)) {
        bail!(
            "cannot measure messages of {} bytes with `laneway bench {}`: they are {LEAST_PAYLOAD} bytes to {}",
            payload,
            args.measure,
            bytes(most)
        );
    }
    if args.duration.is_some_and(|duration| duration < LEAST_DURATION) {
        bail!(
            "--duration {:?} is too short to measure anything: at least {LEAST_DURATION:?}",
            args.duration.unwrap_or_default()
        );
    }
    Ok(())
}

/// The time of a few pieces.
const LEAST_DURATION: Duration = Duration::from_millis(1);

fn job(args: &Bench, work: Work, wait: Wait) -> Job {
    Job {
        work,
        payload: 8,
        wait,
        senders: args.senders.unwrap_or(SENDERS),
        rate: args.rate.unwrap_or(WAKES),
        duration: args.duration.unwrap_or(DURATION),
    }
}

/// One job for each payload: those that the user named, each once, or the usual ones.
fn for_payloads(args: &Bench, usual: &[usize], job: &Job) -> Vec<Job> {
    let mut payloads: Vec<usize> = Vec::new();
    for payload in args.payload.iter().map(|payload| *payload as usize) {
        if !payloads.contains(&payload) {
            payloads.push(payload);
        }
    }
    let payloads = if payloads.is_empty() { usual.to_vec() } else { payloads };
    payloads.into_iter().map(|payload| Job { payload, ..job.clone() }).collect()
}

fn limits(args: &Bench) -> Vec<Job> {
    vec![Job { rate: WAKES, ..job(args, Work::Limits, Wait::Park) }]
}

fn rtt(args: &Bench) -> Vec<Job> {
    for_payloads(args, &[8, 48], &job(args, Work::Rtt, args.wait.unwrap_or(Wait::Spin)))
}

fn throughput(args: &Bench) -> Vec<Job> {
    let wait = args.wait.unwrap_or(Wait::Spin);
    let mut jobs = for_payloads(args, &[8, 64, 1024, 65_536], &job(args, Work::Throughput, wait));
    jobs.push(Job { payload: 56, ..job(args, Work::Doorbell, wait) });
    jobs
}

fn wake(args: &Bench, usual: &[Wait]) -> Vec<Job> {
    let waits = args.wait.map_or(usual.to_vec(), |wait| vec![wait]);
    waits.into_iter().flat_map(|wait| for_payloads(args, &[8], &job(args, Work::Wake, wait))).collect()
}

fn fan_in(args: &Bench) -> Vec<Job> {
    let wait = args.wait.unwrap_or(Wait::Adaptive);
    let paced = Job { rate: args.rate.unwrap_or(FAN_IN_RATE), ..job(args, Work::FanInPaced, wait) };
    [for_payloads(args, &[56], &job(args, Work::FanIn, wait)), for_payloads(args, &[56], &paced)].concat()
}

fn idle(args: &Bench) -> Vec<Job> {
    let receiver = Job { duration: args.duration.unwrap_or(IDLE), ..job(args, Work::Idle, Wait::Park) };
    vec![receiver, Job { payload: 56, ..job(args, Work::Crowd, Wait::Spin) }]
}

fn overflow(args: &Bench) -> Vec<Job> {
    for_payloads(args, &[1024], &job(args, Work::Overflow, Wait::Spin))
}

fn watched(args: &Bench) -> Vec<Job> {
    let job = Job { duration: args.duration.unwrap_or(WATCHED), ..job(args, Work::Watched, Wait::Spin) };
    for_payloads(args, &[56], &job)
}
