//! What a header says, and what is wrong with it.

use super::image::{self, Image};
use crate::layout::{FileKind, HEADER_LEN, Header, MAGIC, SEGMENT_SLOTS, VERSION};
use crate::queue;
use crate::sys::host;
use std::path::Path;

/// The header of a file, if it has one that is whole.
pub(super) fn of_file(path: &Path) -> Option<Header> {
    let (file, _) = image::open(path).ok()?;
    let image = Image::of(&file, HEADER_LEN as u64).ok()?;
    (image.bytes >= HEADER_LEN as u64).then(|| image.header())
}

/// What kind of file it says that it is the header of.
pub(super) fn kind_of(header: &Header) -> Option<FileKind> {
    use FileKind::{Bell, Desk, Lane, Ledger, Queue, Receiver};
    let kinds = [Queue, Bell, Receiver, Lane, Ledger, Desk];
    kinds.into_iter().find(|kind| header.magic == MAGIC && *kind as u32 == header.kind)
}

/// Whether a file can be read by it: its limits are such as a queue may have.
pub(super) fn is_usable(header: &Header) -> bool {
    let known = header.magic == MAGIC && header.version == VERSION && header.segment_slots == SEGMENT_SLOTS;
    known && queue::Options::are_limits_of(header).is_ok()
}

/// Its fields, in their order.
pub(super) fn fields(header: &Header) -> Vec<(&'static str, String)> {
    let Header { magic, version, kind, queue_id, boot_id, ring_capacity, overflow_limit, .. } = *header;
    let Header { max_message, max_lanes, fence_mode, trust, lane, priority, ledger_entries, .. } = *header;
    let Header { segment_slots, created_ns, features, reserved, checksum, .. } = *header;
    let id = |id| format!("{:032x}", u128::from_be_bytes(id));
    vec![
        ("magic", format!("{magic:#018x}")),
        ("version", version.to_string()),
        ("kind", kind.to_string()),
        ("queue_id", id(queue_id)),
        ("boot_id", id(boot_id)),
        ("ring_capacity", ring_capacity.to_string()),
        ("overflow_limit", overflow_limit.to_string()),
        ("max_message", max_message.to_string()),
        ("max_lanes", max_lanes.to_string()),
        ("fence_mode", fence_mode.to_string()),
        ("trust", trust.to_string()),
        ("lane", lane.to_string()),
        ("priority", priority.to_string()),
        ("ledger_entries", ledger_entries.to_string()),
        ("segment_slots", segment_slots.to_string()),
        ("created_ns", created_ns.to_string()),
        ("features", format!("{features:#x}")),
        ("reserved", reserved.to_string()),
        ("checksum", format!("{checksum:#018x}")),
    ]
}

/// What is wrong with the header of a file of this kind, in the queue with that header.
pub(super) fn problems(header: &Header, kind: FileKind, queue: Option<&Header>) -> Vec<String> {
    let mut problems = Vec::new();
    if header.magic != MAGIC {
        problems.push(format!("the magic number is {:#018x}, and should be {MAGIC:#018x}", header.magic));
        return problems;
    }
    if header.version != VERSION {
        problems.push(format!("it has format version {}, and this library reads version {VERSION}", header.version));
    }
    let right = header.sealed().checksum;
    if header.checksum != right {
        problems.push(format!("the header's checksum is {:#018x}, and should be {right:#018x}", header.checksum));
    }
    if header.kind != kind as u32 {
        problems.push(format!("it says that its kind is {}, and should be {}", header.kind, kind as u32));
    }
    if host::boot_id().is_ok_and(|boot| boot != header.boot_id) {
        problems.push("it is of another boot, or of another host".to_owned());
    }
    if header.features != 0 {
        problems.push(format!("it has features {:#x} that this library does not know", header.features));
    }
    if let Err(cause) = queue::Options::are_limits_of(header) {
        problems.push(format!("its limits are such as no queue has: {cause}"));
    }
    if let Some(queue) = queue {
        let expected = Header { kind: header.kind, lane: header.lane, priority: header.priority, ..*queue };
        let differs = fields(header).into_iter().zip(fields(&expected)).filter(|(found, expected)| found != expected);
        for ((name, found), (_, expected)) in differs.filter(|((name, _), _)| *name != "checksum") {
            problems.push(format!("its {name} is {found}, and that of `queue` is {expected}"));
        }
    }
    problems
}
