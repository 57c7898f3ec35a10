//! What is to be seen.

use crate::queue::{Asleep, AsyncQueue, NotEnqueued, QueueStats};
use crate::task::{Kind, Report, Task};
use crate::team::IRIS;
use laneway::mailbox::{Backoff, Cancelled, Inbox, Post, Reason, SendError, Settings, State, Ticket, WhenFull};
use laneway::{Priority, Queue, RateLimit, SendError as QueueError};
use laneway_measure::Distribution;
use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, Instant};

/// Nothing here takes this long; what does has hung.
const LONG: Duration = Duration::from_secs(60);

/// As many tasks as wait in a team's queue.
const MAX_QUEUE_SIZE: u32 = 100;

pub(crate) fn tell(post: &Post) -> Result<(), Box<dyn Error>> {
    let backoff = Backoff { first: Duration::from_millis(1), cap: Duration::from_millis(1) };
    let limited = |when_full| Settings { max_pending: MAX_QUEUE_SIZE, when_full, backoff, ..Settings::default() };
    let refusing = post.clone().settings(limited(WhenFull::Refuse));
    let rolling = post.clone().settings(limited(WhenFull::Roll));
    let reports = post.serve(IRIS)?;
    let mut queue = AsyncQueue::new(post);
    queue.found("backend", &refusing)?;
    queue.found("frontend", &refusing)?;
    queue.found("docs", &rolling)?;
    let mut story =
        Story { queue, reports, seen: BTreeMap::new(), enqueued: Distribution::new(), took: Distribution::new() };
    story.a_full_queue_refuses_or_rolls()?;
    story.teams_work_in_order_and_beside_each_other()?;
    story.what_fails_holds_up_nobody()?;
    story.tasks_expire_are_cancelled_and_overtake()?;
    story.a_team_has_a_rate(post)?;
    story.close(post)
}

struct Story {
    queue: AsyncQueue,
    reports: Inbox,
    /// What each team has reported.
    seen: BTreeMap<String, Vec<Report>>,
    /// How long enqueueing took, and working on a task.
    enqueued: Distribution,
    took: Distribution,
}

impl Story {
    fn enqueue(&mut self, task: &Task, asleep: Asleep) -> Result<Ticket, NotEnqueued> {
        let start = Instant::now();
        let id = self.queue.enqueue(task, asleep);
        self.enqueued.record(start.elapsed().as_nanos() as u64);
        id
    }

    /// What became of a task in the end.
    fn outcome(&mut self, team: &str, id: &Ticket) -> Result<(State, Reason, u32), Box<dyn Error>> {
        let status = self.queue.team(team)?.wait(id, LONG)?;
        Ok((status.state, status.reason, status.attempts))
    }

    /// Waits for so many reports of a team, and gives all of them.
    fn reports(&mut self, team: &str, count: usize) -> Result<&[Report], Box<dyn Error>> {
        while self.seen.get(team).map_or(0, Vec::len) < count {
            let delivery = self.reports.recv_timeout(LONG)?;
            let report: Report = serde_json::from_slice(&delivery.body())?;
            delivery.ack();
            self.took.record(report.ended_ns - report.begun_ns);
            self.seen.entry(report.team.clone()).or_default().push(report);
        }
        Ok(&self.seen[team])
    }

    fn a_full_queue_refuses_or_rolls(&mut self) -> Result<(), Box<dyn Error>> {
        let asleep = self.enqueue(&Task::new(Kind::Tell, "backend", "hello"), Asleep::Refuse).unwrap_err();
        assert_eq!(asleep.to_string(), "Team is asleep. Use 'wake' action first.");
        let tell = |team: &str, number: u32| Task::new(Kind::Tell, team, number.to_string());
        for number in 0..MAX_QUEUE_SIZE {
            self.enqueue(&tell("backend", number), Asleep::Wait)?;
        }
        let full = self.enqueue(&tell("backend", MAX_QUEUE_SIZE), Asleep::Wait).unwrap_err();
        assert_eq!(full.to_string(), "Queue for team \"backend\" is full: it holds 100 tasks");
        let stats = self.queue.stats("backend")?;
        let team_name = "backend".to_owned();
        assert_eq!(stats, QueueStats { team_name, pending: 100, processed: 0, failed: 0, max_queue_size: 100 });
        let rolled = self.enqueue(&tell("docs", 0), Asleep::Wait)?;
        for number in 1..2 * MAX_QUEUE_SIZE {
            self.enqueue(&tell("docs", number), Asleep::Wait)?;
        }
        self.enqueue(&Task::new(Kind::Tell, "docs", "last"), Asleep::Wake)?;
        assert_eq!(self.outcome("docs", &rolled)?.1, Reason::Rolled);
        let kept = self.reports("docs", MAX_QUEUE_SIZE as usize)?;
        assert_eq!((kept[0].content.as_str(), kept[99].content.as_str()), ("101", "last"));
        println!("backend refused the 101st task; docs dropped the 101 oldest of 201, and did the others");
        Ok(())
    }

    fn teams_work_in_order_and_beside_each_other(&mut self) -> Result<(), Box<dyn Error>> {
        self.queue.wake("backend");
        let done = self.reports("backend", 100)?;
        assert!(done.iter().enumerate().all(|(number, report)| report.content == number.to_string()));
        assert!(done.windows(2).all(|pair| pair[0].ended_ns <= pair[1].begun_ns), "two tasks of a team at a time");
        let meet =
            |team: &str, other: &str| Task { args: Some(other.to_owned()), ..Task::new(Kind::Command, team, "meet") };
        let met = [
            ("backend", self.enqueue(&meet("backend", "frontend"), Asleep::Wake)?),
            ("frontend", self.enqueue(&meet("frontend", "backend"), Asleep::Wake)?),
        ];
        for (team, id) in met {
            assert_eq!(
                self.outcome(team, &id)?.0,
                State::Acked,
                "{team} did not meet the other team in the middle of a task"
            );
        }
        println!("backend did its tasks in order, one at a time, and met frontend in the middle of one");
        Ok(())
    }

    fn what_fails_holds_up_nobody(&mut self) -> Result<(), Box<dyn Error>> {
        let command = |content: &str| Task::new(Kind::Command, "frontend", content);
        let fail = self.enqueue(&command("fail"), Asleep::Wake)?;
        let flaky = self.enqueue(&command("flaky"), Asleep::Wake)?;
        let after = self.enqueue(&command("after"), Asleep::Wake)?;
        assert_eq!(self.outcome("frontend", &after)?.0, State::Acked);
        assert_eq!(self.outcome("frontend", &fail)?, (State::Failed, Reason::Rejected, 1));
        assert_eq!(self.outcome("frontend", &flaky)?, (State::Acked, Reason::None, 2));
        println!("frontend failed in one task, and did another one the second time");
        let crash = self.enqueue(&command("crash"), Asleep::Wake)?;
        // Dead as it is, the next task wakes it, and it gets the one back that it had in its hands.
        self.until_asleep("frontend")?;
        let next = self.enqueue(&command("next"), Asleep::Wake)?;
        assert_eq!(self.outcome("frontend", &crash)?, (State::Acked, Reason::None, 2));
        assert_eq!(self.outcome("frontend", &next)?.0, State::Acked);
        println!("frontend was killed in the middle of a task, was woken by the next one, and did both");
        Ok(())
    }

    fn until_asleep(&self, team: &str) -> Result<(), Box<dyn Error>> {
        let deadline = Instant::now() + LONG;
        while self.queue.is_awake(team)? {
            assert!(Instant::now() < deadline, "{team} does not sleep");
            std::thread::yield_now();
        }
        Ok(())
    }

    fn tasks_expire_are_cancelled_and_overtake(&mut self) -> Result<(), Box<dyn Error>> {
        self.sleep("frontend")?;
        let task = |content: &str| Task::new(Kind::Tell, "frontend", content);
        let stale = self.queue.enqueue_with(&task("stale"), Asleep::Wait, |draft| draft.ttl(Duration::ZERO))?;
        let unwanted = self.enqueue(&task("unwanted"), Asleep::Wait)?;
        let bulk = self.enqueue(&task("bulk"), Asleep::Wait)?;
        let urgent =
            self.queue.enqueue_with(&task("urgent"), Asleep::Wait, |draft| draft.priority(Priority::Urgent))?;
        assert_eq!(self.queue.team("frontend")?.cancel(&unwanted)?, Cancelled::Yes);
        let done = self.seen.get("frontend").map_or(0, Vec::len);
        let last = self.enqueue(&task("last"), Asleep::Wake)?;
        for id in [urgent, bulk, last] {
            assert_eq!(self.outcome("frontend", &id)?.0, State::Acked);
        }
        assert_eq!(self.outcome("frontend", &stale)?.0, State::Expired);
        assert_eq!(self.outcome("frontend", &unwanted)?.0, State::Cancelled);
        let order: Vec<String> =
            self.reports("frontend", done + 3)?[done..].iter().map(|report| report.content.clone()).collect();
        assert_eq!(order, ["urgent", "bulk", "last"]);
        println!("frontend slept, did the urgent task first, and left out what was stale and what was cancelled");
        Ok(())
    }

    fn sleep(&mut self, team: &str) -> Result<(), Box<dyn Error>> {
        let id = self.enqueue(&Task::new(Kind::Sleep, team, "sleep"), Asleep::Wake)?;
        assert_eq!(self.outcome(team, &id)?.0, State::Acked);
        self.until_asleep(team)?;
        // What it has reported by now belongs to what was before.
        while let Some(delivery) = self.reports.try_recv()? {
            let report: Report = serde_json::from_slice(&delivery.body())?;
            delivery.ack();
            self.seen.entry(report.team.clone()).or_default().push(report);
        }
        Ok(())
    }

    fn a_team_has_a_rate(&mut self, post: &Post) -> Result<(), Box<dyn Error>> {
        let slow = Queue::options().capacity(64 << 10).rate_limit(RateLimit::messages(1).burst_messages(5));
        self.queue.found("mobile", &post.clone().queue_options(slow))?;
        let task = Task::new(Kind::Tell, "mobile", "hello");
        let mut sent = 0;
        let refused = loop {
            match self.enqueue(&task, Asleep::Wait) {
                Ok(_) => sent += 1,
                Err(error) => break error,
            }
            assert!(sent < 1000, "nothing limits the rate");
        };
        let is_rate = matches!(refused, NotEnqueued::Send(SendError::Queue(QueueError::RateLimited { .. })));
        assert!(is_rate && sent >= 5, "{refused}");
        println!("mobile takes a task a second, and five at once");
        Ok(())
    }

    fn close(mut self, post: &Post) -> Result<(), Box<dyn Error>> {
        let teams = ["backend", "docs", "frontend", "mobile"];
        println!();
        for team in teams {
            let stats = self.queue.stats(team)?;
            println!("{}", serde_json::to_string(&stats)?);
        }
        for team in ["backend", "docs", "frontend"] {
            self.sleep(team)?;
            assert!(!post.is_awake(team)?);
        }
        self.queue.close();
        let micros = |ns: u64| ns as f64 / 1e3;
        let [enqueued, took] = [&self.enqueued, &self.took].map(|times| times.percentiles());
        println!(
            "enqueueing took {:.1} µs (p50), {:.1} µs (p99), {:.1} µs at most; the document: below 100 ms",
            micros(enqueued.p50_ns),
            micros(enqueued.p99_ns),
            micros(enqueued.max_ns)
        );
        println!("working on a task took {:.1} µs (p50), {:.1} µs (p99)", micros(took.p50_ns), micros(took.p99_ns));
        Ok(())
    }
}
