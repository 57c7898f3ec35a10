//! Kernels whose pages are longer than 4 KiB: a file system with huge pages where this kernel has one, and for 64 KiB the
//! calls of a whole life, held against what such a kernel asks.

use super::Answer;
use super::parties::{LONG, Party};
use crate::faults::life::{ALONE, MARK};
use crate::mail::Mail;
use crate::namespace::{enter, mount_memory};
use crate::role;
use crate::workspace::has;
use anyhow::{Context, Result, ensure};
use laneway::Queue;
use nix::sched::CloneFlags;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

const PAGE: u64 = 64 << 10;
/// The longest message of the run on huge pages.
const MAX: usize = 9000;

pub(super) fn large(at: &Path) -> Result<Answer> {
    if let Err(error) = enter(CloneFlags::CLONE_NEWNS).and_then(|()| mount_memory(at, "huge=always,size=512m")) {
        return Ok(Answer::Skipped(format!("no file system with huge pages: {error:#}")));
    }
    let trial = at.join("trial");
    fs::write(&trial, [1])?;
    let page = fs::metadata(&trial)?.blocks() * 512;
    if page <= 4096 {
        return Ok(Answer::Skipped(format!("a file of one byte takes {page} bytes here: no huge pages")));
    }
    let path = at.join("queue");
    // Without a guard: touching what is not reserved ends the process.
    Queue::options().capacity(4096).overflow_limit(4 << 20).max_lanes(2).sigbus_guard(false).create(&path)?;
    let text = Party::start(|| grow_and_shrink(&path))?.end()?;
    Ok(Answer::Done(format!("pages of {} KiB: {text}", page >> 10)))
}

/// Bursts that grow the lane, trims in the middle of reading and after it, owners that come after each other.
fn grow_and_shrink(path: &Path) -> Result<String> {
    let queue = Queue::open(path)?;
    let receiver = queue.receiver()?;
    let (mut number, mut received, mut most) = (0, 0, 0);
    for round in 0..40 {
        let mut sender = queue.sender()?;
        for _ in 0..400 {
            let mail = Mail { epoch: round, lane: sender.lane(), number: number + 1, after: number };
            sender.send_timeout(&mail.write(MAX), LONG)?;
            number += 1;
        }
        most = most.max(queue.observe()?.stat()?.segment_bytes);
        let mut take = |count: u64| -> Result<()> {
            for message in receiver.try_iter().take(count as usize) {
                let mail = Mail::read(&message.to_vec(), MAX).context("torn")?;
                ensure!(mail.number == received + 1, "{mail:?} behind {received}");
                received += 1;
            }
            Ok(())
        };
        take(round * 10)?;
        sender.trim();
        if round % 2 == 0 {
            drop(sender);
            queue.trim()?;
            take(u64::MAX >> 1)?;
        } else {
            take(u64::MAX >> 1)?;
            sender.trim();
        }
        ensure!(received == number, "{received} of {number} were received");
    }
    drop(receiver);
    queue.trim()?;
    let held = queue.observe()?.lanes()?.iter().map(|lane| lane.reserved_bytes).sum::<u64>();
    ensure!(most > 100 << 10, "only {most} bytes lay in segments");
    Ok(format!("{number} messages, up to {most} bytes in segments, {held} bytes held when all was trimmed"))
}

/// What one call asked for.
#[derive(Default)]
struct Seen {
    mappings: u64,
    reserved: u64,
    holes: u64,
    holed: u64,
    /// Bytes of holes that lie in no whole page, and so stay.
    kept: u64,
    wrong: Vec<String>,
}

pub(super) fn on_paper(at: &Path) -> Result<Answer> {
    if !has("strace", &["-qq", "-e", "trace=none", "true"]) {
        return Ok(Answer::Skipped("strace is not there, or may not trace".to_owned()));
    }
    let (log, directory) = (at.join("log"), at.join("life"));
    fs::create_dir(&directory)?;
    let mut command = Command::new("strace");
    command
        .args(["-qq", "-f", "-e", "trace=mmap,madvise,fallocate,statx", "-o"])
        .arg(&log)
        .arg("--")
        .arg(role::program()?);
    role::tell(&mut command, "life", &directory).env(ALONE, "1");
    ensure!(command.status()?.success(), "a life ended early: {}", fs::read_to_string(&log)?);
    let seen = read(&fs::read_to_string(&log)?);
    ensure!(seen.wrong.is_empty(), "{}", seen.wrong.join("; "));
    ensure!(
        seen.mappings > 10 && seen.reserved > 10 && seen.holes > 2,
        "of {} mappings, {} reservations, {} holes nothing can be said",
        seen.mappings,
        seen.reserved,
        seen.holes
    );
    Ok(Answer::Done(format!(
        "{} mappings of files, all from their start; {} reservations, of which larger pages take more, never less; {} \
         holes, of whose {} bytes 64 KiB pages would keep {}",
        seen.mappings, seen.reserved, seen.holes, seen.holed, seen.kept
    )))
}

/// A mapping of a file must start at a multiple of the page, wherever it lies; what is reserved is rounded up by the kernel
/// and what is given back is rounded down, so a larger page is there whenever a smaller one would be.
fn read(trace: &str) -> Seen {
    let mut seen = Seen::default();
    let mut starts: BTreeMap<String, ()> = BTreeMap::new();
    for line in trace.lines().skip_while(|line| !line.contains(MARK)) {
        let call = line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
        let Some((name, rest)) = call.split_once('(') else { continue };
        let (arguments, answer) = rest.rsplit_once('=').unwrap_or((rest, ""));
        let arguments: Vec<&str> = arguments.trim_end().trim_end_matches(')').split(", ").collect();
        let number = |text: &str| match text.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => text.parse().ok(),
        };
        match (name, &arguments[..]) {
            ("mmap", [address, _, _, flags, _, offset]) if !flags.contains("MAP_ANONYMOUS") => {
                seen.mappings += 1;
                starts.insert(answer.trim().to_owned(), ());
                if *address != "NULL" || !number(offset).is_some_and(|offset| offset.is_multiple_of(PAGE)) {
                    seen.wrong.push(call.to_owned());
                }
            }
            // The allocator's are not ours; of a mapping, all of it.
            ("madvise", [address, _, "MADV_DONTFORK"]) if !starts.contains_key(*address) => {
                seen.wrong.push(call.to_owned());
            }
            ("fallocate", [_, mode, offset, len]) => {
                let (Some(offset), Some(len)) = (number(offset), number(len)) else { continue };
                if mode.contains("PUNCH_HOLE") {
                    let whole = (offset + len) / PAGE * PAGE;
                    (seen.holes, seen.holed) = (seen.holes + 1, seen.holed + len);
                    seen.kept += len - whole.saturating_sub(offset.next_multiple_of(PAGE));
                } else {
                    seen.reserved += 1;
                }
            }
            _ => {}
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_from_the_middle_of_a_large_page_is_wrong() {
        let mark = format!("1 statx(AT_FDCWD, \"{MARK}\", 0) = -1\n");
        let map = |offset: &str| format!("{mark}1 mmap(NULL, 4096, PROT_READ, MAP_SHARED, 3, {offset}) = 0x7000\n");
        assert!(read(&map("0")).wrong.is_empty() && read(&map("0x10000")).wrong.is_empty());
        assert_eq!(read(&map("0x1000")).wrong.len(), 1);
        let hole = "1 fallocate(3, FALLOC_FL_KEEP_SIZE|FALLOC_FL_PUNCH_HOLE, 8192, 126976) = 0\n";
        assert_eq!(read(&format!("{mark}{hole}")).kept, 126_976 - 65_536);
    }
}
