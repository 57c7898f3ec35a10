//! The demo's observer process: it watches through read-only mappings, and says who comes and goes.

use super::protocol::{ObserverReport, Said, Told};
use crate::team::{listen, say};
use anyhow::{Result, bail};
use laneway::Queue;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

/// Between two samples.
const INTERVAL: Duration = Duration::from_millis(2);

pub(super) fn run(path: PathBuf) -> Result<()> {
    let mut observer = Queue::open(path)?.observe()?;
    let told = listen(|| {});
    say(&Said::Ready { lane: None })?;
    let mut report = ObserverReport::default();
    let mut depth_bytes = 0;
    let mut alive: BTreeMap<u32, bool> = BTreeMap::new();
    loop {
        let order = told.recv_timeout(INTERVAL);
        let lanes = observer.lanes()?;
        let depth = lanes.iter().map(|lane| lane.depth_bytes).sum();
        report.samples += 1;
        report.receiver_alive += u64::from(observer.receiver_alive()?);
        report.max_depth_bytes = report.max_depth_bytes.max(depth);
        report.lanes_sent = lanes.iter().map(|lane| lane.sent).sum();
        depth_bytes += depth;
        for lane in lanes {
            if alive.insert(lane.lane, lane.sender_alive) != Some(lane.sender_alive) {
                *if lane.sender_alive { &mut report.came } else { &mut report.went } += 1;
                say(&Said::Liveness { lane: lane.lane, alive: lane.sender_alive })?;
            }
        }
        match order {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Told::Finish) => {
                report.mean_depth_bytes = depth_bytes / report.samples;
                return say(&Said::Observed(report));
            }
            other => bail!("the demo's observer was told {other:?}"),
        }
    }
}
