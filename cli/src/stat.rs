//! `laneway stat`.

use crate::args::Stat;
use crate::output::{self, row};
use crate::{place, plain, units};
use anyhow::Result;
use laneway::{LaneStat, Queue};
use serde_json::{Value, json};
use std::process::ExitCode;

pub(crate) fn run(args: Stat, json: bool) -> Result<ExitCode> {
    let queue = Queue::open(place::queue(&args.queue)?)?;
    let mut observer = queue.observe()?;
    let (stat, lanes) = observer.look()?;
    let unreadable: Vec<(u32, String)> = observer.unreadable().collect();
    if json {
        output::print_json(&json!({
            "path": queue.path().to_string_lossy(),
            "capacity": queue.capacity(),
            "overflow_limit": queue.overflow_limit(),
            "max_lanes": queue.max_lanes(),
            "max_message": queue.max_message(),
            "receiver_alive": stat.receiver_alive,
            "receiver_sleeps": stat.receiver_sleeps,
            "receiver_attaches": stat.receiver_attaches,
            "depth_messages": stat.depth_messages,
            "depth_bytes": stat.depth_bytes,
            "segment_bytes": stat.segment_bytes,
            "reserved_bytes": stat.reserved_bytes,
            "limit_bytes": stat.limit_bytes,
            "pressure": stat.pressure.to_string(),
            "dropped": stat.dropped,
            "lanes": lanes.iter().map(lane_json).collect::<Vec<_>>(),
            "unreadable": unreadable.iter().map(|(lane, why)| json!({ "lane": lane, "error": why })).collect::<Vec<_>>(),
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let receiver = match (stat.receiver_alive, stat.receiver_sleeps) {
        (true, true) => "attached, asleep",
        (true, false) => "attached, awake",
        (false, _) => "none",
    };
    output::print(&format!(
        "{}\n  limits    {} lanes of {} and {} of overflow, messages of up to {} bytes\n  \
         receiver  {receiver}, attached {} times so far\n  \
         depth     {} messages, {}, of these {} outside the rings; {} dropped\n  \
         pressure  {}\n  \
         memory    {} of at most {}\n",
        plain::path(queue.path()),
        queue.max_lanes(),
        units::bytes(queue.capacity()),
        units::bytes(queue.overflow_limit()),
        units::count(queue.max_message().into()),
        stat.receiver_attaches,
        units::count(stat.depth_messages),
        units::bytes(stat.depth_bytes),
        units::bytes(stat.segment_bytes),
        units::count(stat.dropped),
        stat.pressure,
        units::bytes(stat.reserved_bytes),
        units::bytes(stat.limit_bytes),
    ))?;
    let mut table = output::table(&[
        ">LANE",
        "PRIORITY",
        ">SENT",
        ">RECEIVED",
        ">WAITING",
        ">DEPTH",
        ">MOST",
        ">MEMORY",
        ">FULL",
        ">DROPPED",
        "SENDER",
    ]);
    for lane in &lanes {
        table.add_row(row([
            &lane.lane,
            &lane.priority,
            &units::count(lane.sent),
            &units::count(lane.received),
            &units::count(lane.depth_messages),
            &units::bytes(lane.depth_bytes),
            &units::bytes(lane.high_water_bytes),
            &units::bytes(lane.reserved_bytes),
            &units::count(lane.full_events),
            &units::count(lane.dropped),
            &sender(lane),
        ]));
    }
    for (lane, why) in &unreadable {
        table.add_row(row([lane, &"-", &"-", &"-", &"-", &"-", &"-", &"-", &"-", &"-", &format!("unreadable: {why}")]));
    }
    if !table.is_empty() {
        output::print(&format!("\n{}\n", table.trim_fmt()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn sender(lane: &LaneStat) -> String {
    match (lane.damage, lane.sender_alive, lane.closed) {
        (Some(damage), ..) => format!("retired: {damage}"),
        (_, true, _) => "attached".to_owned(),
        (_, _, true) => "closed".to_owned(),
        _ => "gone".to_owned(),
    }
}

pub(crate) fn lane_json(lane: &LaneStat) -> Value {
    json!({
        "lane": lane.lane,
        "priority": lane.priority.to_string(),
        "sender_alive": lane.sender_alive,
        "closed": lane.closed,
        "sent": lane.sent,
        "received": lane.received,
        "depth_messages": lane.depth_messages,
        "depth_bytes": lane.depth_bytes,
        "segment_bytes": lane.segment_bytes,
        "reserved_bytes": lane.reserved_bytes,
        "high_water_bytes": lane.high_water_bytes,
        "pressure": lane.pressure.to_string(),
        "dropped": lane.dropped,
        "write_pos": lane.write_pos,
        "read_pos": lane.read_pos,
        "attaches": lane.attaches,
        "full_events": lane.full_events,
        "damage": lane.damage.map(|damage| damage.to_string()),
    })
}
