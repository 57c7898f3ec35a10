//! What is stepped through: one victim, a victim that recovers, and two among each other.

use super::acts::{Act, End, Stage, Terms, draw, mark};
use super::judge::{History, Known};
use super::page::Page;
use super::payload;
use super::step::Watch;
use super::trace::{Stepped, Traced, stop};
use super::worker::{Case, Sample, Worker, priorities};
use anyhow::{Context, Result, ensure};
use laneway::{OnFull, Queue, Receiver, RecvError, Sender, Wait};
use std::time::{Duration, Instant};

/// Nothing that a survivor waits for takes this long; what does has hung.
const LONG: Duration = Duration::from_secs(20);
/// A survivor's state.
const SURVIVES: u64 = 1;
const WELL: u64 = 2;
const BADLY: u64 = 3;
/// So often a victim may sleep for nothing.
const MOST_SLEEPS: u32 = 3;
/// Messages that pass between a survivor and who comes after the dead.
const AFTER: u32 = 12;

impl Worker {
    /// A queue in which much has happened, with a bystander's lane, and what its victims are to be like.
    fn prepare(&mut self) -> Result<(Queue, Known, Terms, bool)> {
        let grows = self.rng.u32(0..3) > 0;
        let queue = self.restore(&self.templates[usize::from(grows)])?;
        let (priority, other) = priorities(&mut self.rng);
        let policies = match grows {
            true => &[OnFull::GrowThenBlock, OnFull::GrowThenFail, OnFull::GrowThenDrop, OnFull::GrowThenBlock][..],
            false => &[OnFull::Block, OnFull::Block, OnFull::Fail, OnFull::DropNewest][..],
        };
        let terms = Terms { priority, on_full: *self.rng.choice(policies).expect("there are some"), wait: self.wait() };
        let mut bystander = queue.sender_options().priority(other).attach()?;
        let lane = 1 - bystander.lane();
        let mut bytes = Vec::new();
        let mut message = |number, len| {
            bytes.clear();
            payload::write(payload::BYSTANDER, number, len, &mut bytes);
            bytes.clone()
        };
        if self.rng.u32(0..8) > 0 {
            let (mut sender, receiver) = (queue.sender_options().priority(priority).attach()?, queue.receiver()?);
            for number in 0..self.rng.u32(0..90) {
                sender.send(&message(number, self.rng.usize(4..400)))?;
                drop(receiver.recv()?);
            }
        }
        let bystanders = self.rng.u32(0..4);
        for number in 0..bystanders {
            bystander.send(&message(number, self.rng.usize(4..300)))?;
        }
        bystander.close();
        Ok((queue, Known { priority, lane, bystanders }, terms, grows))
    }

    fn wait(&mut self) -> Wait {
        // Who looks long before it sleeps is stepped through little else.
        if self.rng.u32(0..4) == 0 { Wait::Adaptive } else { Wait::Park }
    }

    /// How many steps an episode takes at most: from some dozens to some ten thousand, all orders alike.
    fn budget(&mut self) -> u64 {
        (40.0 * (500.0f64).powf(self.rng.f64())) as u64
    }

    pub(super) fn solo(&mut self) -> Result<()> {
        let (queue, known, terms, grows) = self.prepare()?;
        let count = [0, 4, 12, 40, 90][self.rng.usize(0..5)];
        let mut before = draw(&mut self.rng, End::Both, count);
        let both = [Act::Attach, Act::Listen];
        if self.rng.u32(0..20) > 0 {
            before.splice(0..0, both);
        }
        let mut stepped = draw(&mut self.rng, End::Both, 150);
        stepped.splice(0..0, both);
        // What ends a lane seldom comes at a moment at which there is much to end.
        if self.rng.u32(0..4) == 0 {
            before.extend([Act::Batch(6, 700), Act::Batch(6, 600), Act::Receive(9)]);
            stepped.insert(0, [Act::Close, Act::Trim, Act::Detach][self.rng.usize(0..3)]);
        }
        self.page.clear();
        let watch = Watch::new(&self.watched).relisting(false);
        let mut case = Case::new(watch, known, grows, History::default());
        self.play(&mut case, &queue, terms, &before, &stepped)
    }

    /// Recovers step by step from an image that was judged before.
    pub(super) fn recovery(&mut self) -> Result<()> {
        if self.samples.is_empty() {
            return Ok(());
        }
        let at = self.rng.usize(0..self.samples.len());
        let Sample { snapshot, words, history, known, grows, outcome } = self.samples.swap_remove(at);
        let queue = self.restore(&snapshot)?;
        let watch = Watch::restored(&self.watched, &snapshot);
        let page = self.page;
        page.put(&words);
        page.inexact.set(1);
        // What it delivers is promised to whoever attaches now, and what it does not is not.
        let (from, to) = outcome.range.unwrap_or((0, 0));
        let lost = |number| number >= to || outcome.holes.iter().any(|(from, to, _)| (*from..*to).contains(&number));
        for number in from..page.started.get() as u32 {
            match number {
                _ if u64::from(number) < page.next.get() => {}
                _ if lost(number) => page.excuse(number.into()..u64::from(number) + 1),
                _ => page.promise(number.into()..u64::from(number) + 1),
            }
        }
        page.next.set(page.started.get());
        let mut stepped = draw(&mut self.rng, End::Both, 60);
        let mut first = [Act::Attach, Act::Listen, Act::TrimQueue];
        self.rng.shuffle(&mut first);
        stepped.splice(0..0, first);
        let policies = [OnFull::Fail, OnFull::GrowThenFail, OnFull::DropNewest, OnFull::GrowThenDrop];
        let terms = Terms { priority: known.priority, on_full: policies[self.rng.usize(0..4)], wait: self.wait() };
        let mut case = Case::new(watch, known, grows, history);
        self.play(&mut case, &queue, terms, &[], &stepped)
    }

    /// Steps a victim through `stepped`, up to where it is killed.
    fn play(&mut self, case: &mut Case, queue: &Queue, terms: Terms, before: &[Act], stepped: &[Act]) -> Result<()> {
        let (page, budget) = (self.page, self.budget());
        let victim = Traced::fork(|| {
            let mut stage = Stage::new(queue.clone(), terms, page, &[before, stepped]);
            stage.play(before);
            stage.begin();
            stop();
            stage.play(stepped);
            stop();
        })?;
        case.watch.run_up(&victim.victim);
        let mut sleeps = 0;
        for step in 0..budget {
            let at = victim.at();
            self.point(case, at, 0).with_context(|| format!("step {step}"))?;
            match victim.step(at)? {
                Stepped::Over => break,
                // It waits for itself.
                Stepped::Slept if sleeps == MOST_SLEEPS => break,
                Stepped::Slept => sleeps += 1,
                Stepped::On { call } => {
                    case.watch.follow(&victim.victim);
                    if call {
                        case.watch.list();
                    }
                }
            }
        }
        self.point(case, victim.at(), 0)?;
        victim.kill();
        self.confirm(case)
    }

    /// A sender and a receiver, some steps of one and then of the other; one is killed on the way and the other goes on.
    pub(super) fn pairs(&mut self) -> Result<()> {
        let (queue, known, terms, grows) = self.prepare()?;
        let count = [2, 10, 40][self.rng.usize(0..3)];
        let mut before = [draw(&mut self.rng, End::Sender, count), draw(&mut self.rng, End::Receiver, 4)];
        let mut stepped = [draw(&mut self.rng, End::Sender, 90), draw(&mut self.rng, End::Receiver, 90)];
        for acts in [&mut before[0], &mut stepped[0]] {
            acts.insert(0, Act::Attach);
        }
        for acts in [&mut before[1], &mut stepped[1]] {
            acts.insert(0, Act::Listen);
        }
        self.page.clear();
        let watch = Watch::new(&self.watched).relisting(false);
        let mut case = Case::new(watch, known, grows, History::default());
        let page = self.page;
        let fork = |side: usize, case: &mut Case| -> Result<Traced> {
            let victim = Traced::fork(|| {
                let mut stage = Stage::new(queue.clone(), terms, page, &[&before[side], &stepped[side]]);
                stage.play(&before[side]);
                stage.begin();
                stop();
                stage.play(&stepped[side]);
                // Both ends, whatever the program did last.
                page.hurry.set(0);
                stage.play(&[[Act::Attach, Act::Listen][side]]);
                if page.answer.get() == 0 {
                    stop();
                }
                page.answer.set(if stage.survive(page, AFTER, LONG) { WELL } else { BADLY });
            })?;
            case.watch.run_up(&victim.victim);
            Ok(victim)
        };
        let victims = [fork(0, &mut case)?, fork(1, &mut case)?];
        let (mut left, mut over, mut sleeps) = ((self.budget() + self.budget()) as i64, [false, false], [0, 0]);
        let mut at = [victims[0].at(), victims[1].at()];
        let dies = self.rng.usize(0..3);
        let dies_at = self.rng.i64(0..left);
        while left > 0 && !over.iter().all(|over| *over) {
            let side = self.rng.usize(0..2);
            let turn = (3000.0f64).powf(self.rng.f64()) as u64;
            for _ in 0..turn {
                if dies < 2 && left <= dies_at && !over[dies] {
                    victims[dies].kill();
                    over[dies] = true;
                }
                if over[side] || left <= 0 {
                    break;
                }
                left -= 1;
                self.point(&mut case, at[side], at[1 - side])?;
                match victims[side].step(at[side])? {
                    Stepped::Over => over[side] = true,
                    Stepped::Slept => {
                        at[side] = victims[side].at();
                        sleeps[side] += 1;
                        if sleeps[side] > MOST_SLEEPS && over[1 - side] {
                            left = 0;
                        }
                        // The other one may do what it waits for.
                        break;
                    }
                    Stepped::On { call } => {
                        case.watch.follow(&victims[side].victim);
                        if call {
                            case.watch.list();
                        }
                        at[side] = victims[side].at();
                    }
                }
            }
        }
        if dies == 2 {
            self.point(&mut case, at[0], at[1])?;
            victims.iter().for_each(Traced::kill);
            return self.confirm(&mut case);
        }
        victims[dies].kill();
        let survivor = &victims[1 - dies];
        self.page.hurry.set(1);
        self.page.answer.set(SURVIVES);
        survivor.let_go();
        let passed = if dies == 0 { send_after(&queue, &known) } else { receive_after(&queue, page) };
        survivor.wait();
        passed.context("after the other side was killed")?;
        ensure!(
            self.page.answer.get() == WELL,
            "the survivor did not get what was sent after the other side was killed"
        );
        self.tally.add("survivors", 1);
        Ok(())
    }
}

/// A new sender, to a receiver that lives.
fn send_after(queue: &Queue, known: &Known) -> Result<()> {
    let mut sender = queue.sender_options().priority(known.priority).attach()?;
    ensure!(sender.lane() == known.lane, "the next sender got lane {} instead of {}", sender.lane(), known.lane);
    for number in 0..AFTER {
        let mut bytes = Vec::new();
        payload::write(payload::NEW, number, 300, &mut bytes);
        sender.send_timeout(&bytes, LONG)?;
    }
    Ok(())
}

/// A new receiver, of a sender that lives.
fn receive_after(queue: &Queue, page: &Page) -> Result<()> {
    let receiver = queue.receiver()?;
    ensure!(receive_new(&receiver, page, AFTER, LONG), "the survivor's messages do not come");
    Ok(())
}

/// Receives until `count` new messages have come.
fn receive_new(receiver: &Receiver, page: &Page, count: u32, limit: Duration) -> bool {
    let (mut room, began) = (Vec::new(), Instant::now());
    while page.news.get() < count.into() {
        let message = match receiver.recv_timeout(limit) {
            Ok(message) => message,
            // The dead one, or the survivor a while ago, had closed; whoever takes the lane opens it again.
            Err(RecvError::Closed) if began.elapsed() < limit => {
                std::thread::yield_now();
                continue;
            }
            Err(_) => return false,
        };
        match payload::check(&message.to_vec(), &mut room) {
            Ok((payload::NEW, number)) if u64::from(number) != page.news.get() => return false,
            Ok(_) => mark(page, &message),
            Err(_) => return false,
        }
    }
    true
}

impl Stage<'_> {
    /// Goes on at full speed after the other side was killed: with whoever comes in its place.
    fn survive(&mut self, page: &Page, count: u32, limit: Duration) -> bool {
        let send = |sender: &mut Sender| {
            (0..count).all(|number| {
                let mut bytes = Vec::new();
                payload::write(payload::NEW, number, 300, &mut bytes);
                loop {
                    match sender.send_timeout(&bytes, limit) {
                        Ok(_) => return true,
                        // Who drops or fails when there is no room tries again.
                        Err(laneway::SendError::Full | laneway::SendError::Dropped) => std::thread::yield_now(),
                        Err(_) => return false,
                    }
                }
            })
        };
        match self.sender() {
            Some(sender) => send(sender),
            None => self.receiver().is_some_and(|receiver| receive_new(receiver, page, count, limit)),
        }
    }
}
