//! The demo's script, and the one who directs it.

use super::parcel::HEADER_LEN;
use super::protocol::{ObserverReport, ReceiverReport, Said, SenderReport, Told};
use super::report::{Kill, Report};
use super::who::Who;
use crate::args::Demo;
use crate::progress::Progress;
use crate::team::{Event, Team};
use crate::temporary::Temporary;
use anyhow::{Context, Result, bail};
use laneway::Queue;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// When nothing has moved for so long, something is wrong.
const STALLED: Duration = Duration::from_secs(30);
/// How many messages a sender sends with a pause after each, at most: enough to see what waking costs.
const PACED: u64 = 5_000;
/// Unless the input has longer lines.
const CAPACITY: u64 = 256 << 10;

/// Runs the demo. Whatever happens, no process and no file of it is left when this returns.
pub(super) fn launch(args: &Demo, longest_line: u64) -> Result<Report> {
    let mut stage = Stage::set(args, longest_line)?;
    let (shares, victim) = (shares(args), args.senders.min(2) - 1);
    let share = shares[victim as usize];
    let senders: Vec<Part> = (0..args.senders)
        .map(|number| Part {
            number,
            before: 0,
            first: 0,
            end: shares[number as usize],
            hold_at: (number == victim).then_some(share * 9 / 10),
        })
        .collect();

    stage.start_receiver(args)?;
    stage.start_observer()?;
    senders.iter().try_for_each(|part| stage.start_sender(args, part))?;
    stage.until(|seen| seen.ready.len() == senders.len() + 2)?;

    let began = Instant::now();
    senders.iter().try_for_each(|part| stage.team.tell(part.who(), &Told::Go))?;
    stage.until(|seen| seen.received.get(victim as usize).is_some_and(|count| *count >= share / 2))?;

    let kill = stage.kill(victim, share)?;
    let again = Part { number: victim, before: 1, first: kill.resumed_from, end: share, hold_at: None };
    stage.start_sender(args, &again)?;
    stage.until(|seen| seen.ready.contains_key(&again.who()))?;
    stage.team.tell(again.who(), &Told::Go)?;

    stage.until(|seen| seen.sent.len() == senders.len())?;
    let elapsed = began.elapsed();
    stage.dismiss()?;
    Ok(Report::new(stage.seen.into_reports(), kill, elapsed))
}

/// How many messages each sender sends.
fn shares(args: &Demo) -> Vec<u64> {
    let (messages, senders) = (args.messages, u64::from(args.senders));
    (0..senders).map(|number| messages / senders + u64::from(number < messages % senders)).collect()
}

/// What a sender process is to do.
struct Part {
    number: u32,
    before: u32,
    first: u64,
    end: u64,
    hold_at: Option<u64>,
}

impl Part {
    fn who(&self) -> Who {
        Who::Sender { number: self.number, before: self.before }
    }
}

/// What the launcher has heard.
#[derive(Default)]
pub(super) struct Seen {
    /// Who is attached; senders with their lanes.
    ready: BTreeMap<Who, Option<u32>>,
    received: Vec<u64>,
    came_to: Option<u64>,
    alive: BTreeMap<u32, bool>,
    sent: BTreeMap<u32, SenderReport>,
    receiver: Option<ReceiverReport>,
    observer: Option<ObserverReport>,
    ended: BTreeSet<Who>,
}

/// The three kinds of process, and what they reported.
pub(super) struct Reports {
    pub(super) senders: BTreeMap<u32, SenderReport>,
    pub(super) receiver: ReceiverReport,
    pub(super) observer: ObserverReport,
}

impl Seen {
    fn enter(&mut self, who: Who, said: Said) {
        match said {
            Said::Ready { lane } => drop(self.ready.insert(who, lane)),
            Said::Progress { received } => self.received = received,
            Said::CameTo { next, .. } => self.came_to = Some(next),
            Said::Liveness { lane, alive } => drop(self.alive.insert(lane, alive)),
            Said::Received(report) => self.receiver = Some(report),
            Said::Observed(report) => self.observer = Some(report),
            Said::Sent(report) => {
                if let Who::Sender { number, .. } = who {
                    self.sent.insert(number, report);
                }
            }
        }
    }

    fn into_reports(self) -> Reports {
        Reports {
            senders: self.sent,
            receiver: self.receiver.unwrap_or_default(),
            observer: self.observer.unwrap_or_default(),
        }
    }
}

/// Everything that has to be cleared away at the end: first the processes, then the queue.
struct Stage {
    team: Team<Who, Said>,
    queue: Temporary,
    events: mpsc::Receiver<Event<Who, Said>>,
    seen: Seen,
    progress: Progress,
    /// When something last moved.
    moved_at: Instant,
    /// Whether processes may end.
    over: bool,
}

impl Stage {
    fn set(args: &Demo, longest_line: u64) -> Result<Stage> {
        let (tell, events) = mpsc::channel();
        let interrupt = tell.clone();
        ctrlc::set_handler(move || drop(interrupt.send(Event::Interrupted))).context("cannot watch for Ctrl-C")?;
        Ok(Stage {
            queue: temporary_queue(longest_line + HEADER_LEN as u64)?,
            team: Team::new("demo-process", tell),
            events,
            seen: Seen::default(),
            progress: Progress::of(args.messages, "messages").at_once(),
            moved_at: Instant::now(),
            over: false,
        })
    }

    fn start_receiver(&mut self, args: &Demo) -> Result<()> {
        let every = (args.messages / 200).clamp(1, 1_000).to_string();
        let senders = args.senders.to_string();
        let words = ["--senders", &senders, "--every", &every].map(OsString::from);
        self.team.start(Who::Receiver, self.arguments("receiver", words))
    }

    fn start_observer(&mut self) -> Result<()> {
        self.team.start(Who::Observer, self.arguments("observer", []))
    }

    fn start_sender(&mut self, args: &Demo, part: &Part) -> Result<()> {
        let paced_until = PACED.min(part.end / 5);
        let numbers = [
            ("--number", part.number.into()),
            ("--senders", args.senders.into()),
            ("--first", part.first),
            ("--end", part.end),
            ("--paced-until", paced_until),
        ];
        let numbers = numbers.into_iter().chain(part.hold_at.map(|hold_at| ("--hold-at", hold_at)));
        let mut words: Vec<OsString> =
            numbers.flat_map(|(name, value)| [name.into(), value.to_string().into()]).collect();
        if let Some(input) = &args.input {
            words.extend(["--input".into(), input.into()]);
        }
        self.team.start(part.who(), self.arguments("sender", words))
    }

    fn arguments(&self, role: &str, words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
        [role.into(), self.queue.path().into()].into_iter().chain(words).collect()
    }

    /// Listens until something is the case. Fails when it cannot become so any more.
    fn until(&mut self, is_so: impl Fn(&Seen) -> bool) -> Result<()> {
        while !is_so(&self.seen) {
            let before: u64 = self.seen.received.iter().sum();
            match self.events.recv_timeout(STALLED.saturating_sub(self.moved_at.elapsed())) {
                Ok(Event::Said(who, said)) => {
                    let tells_nothing_new = matches!(said, Said::Progress { .. });
                    self.seen.enter(who, said);
                    let now: u64 = self.seen.received.iter().sum();
                    self.progress.at(now);
                    if now != before || !tells_nothing_new {
                        self.moved_at = Instant::now();
                    }
                }
                // What was said before it ended has been heard.
                Ok(Event::Ended(who)) if self.team.is_running(who) => {
                    self.team.end(who)?;
                    if !self.over {
                        bail!("{who} ended too early");
                    }
                    self.seen.ended.insert(who);
                    self.moved_at = Instant::now();
                }
                // The end of the one that was killed.
                Ok(Event::Ended(_)) => {}
                Ok(Event::Interrupted) => bail!("interrupted; the demo's processes and its queue are gone"),
                Err(_) => bail!("the demo stands still: {before} messages came, and none for {STALLED:?}"),
            }
            if self.moved_at.elapsed() >= STALLED {
                bail!("the demo stands still: {before} messages came, and none for {STALLED:?}");
            }
        }
        Ok(())
    }

    /// Kills a sender and finds out how far it came: exactly, because a dead sender commits nothing more and the
    /// receiver then takes everything that was committed.
    fn kill(&mut self, number: u32, of: u64) -> Result<Kill> {
        let who = Who::Sender { number, before: 0 };
        let lane = self.seen.ready.get(&who).copied().flatten().context("a sender has a lane")?;
        self.team.kill(who)?;
        self.progress.doing(format!("sender {number} killed"));
        // The lane's own count, which nobody but the dead sender wrote, is a second witness. It may lack the last one:
        // the sender commits a message first and counts it then.
        let mut observer = Queue::open(self.queue.path())?.observe()?;
        let counted = observer.lanes()?.into_iter().find(|stat| stat.lane == lane).map_or(0, |stat| stat.sent);
        self.team.tell(Who::Receiver, &Told::HowFar { sender: number })?;
        // The observer, which was told nothing, is to see it gone too.
        self.until(|seen| seen.came_to.is_some() && seen.alive.get(&lane) == Some(&false))?;
        let resumed_from = self.seen.came_to.unwrap_or(0);
        self.progress.doing("messages".to_owned());
        Ok(Kill { sender: number, of, counted, resumed_from })
    }

    /// Has everybody report and end: first the senders, so that nothing can come any more.
    fn dismiss(&mut self) -> Result<()> {
        self.over = true;
        let everybody: Vec<Who> = self.seen.ready.keys().copied().filter(|who| self.team.is_running(*who)).collect();
        let (senders, others): (Vec<Who>, Vec<Who>) =
            everybody.into_iter().partition(|who| matches!(who, Who::Sender { .. }));
        for group in [senders, others] {
            group.iter().try_for_each(|who| self.team.tell(*who, &Told::Finish))?;
            self.until(|seen| group.iter().all(|who| seen.ended.contains(who)))?;
        }
        Ok(())
    }
}

/// A queue that goes with its launcher.
fn temporary_queue(longest_message: u64) -> Result<Temporary> {
    let queue = Temporary::new("demo", |path| drop(Queue::remove(path)))?;
    let capacity = CAPACITY.max((2 * longest_message).next_power_of_two());
    Queue::options().capacity(capacity).create(queue.path())?;
    Ok(queue)
}
