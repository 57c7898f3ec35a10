//! The two gaps of a loop that drains in the middle of its turns only, and that `Turn` has neither.

mod support;

use laneway::agent::{Ended, Idle, Turn};
use laneway::{Queue, Receiver, Sender};
use std::time::Duration;
use support::{LONG, Rng, scratch};

/// A model that is asked: what it saw, how many batches of tools it calls, and what happens meanwhile.
struct Model<'a> {
    batches: usize,
    saw: Vec<String>,
    meanwhile: Box<dyn FnMut(usize) + 'a>,
    calls: usize,
}

impl<'a> Model<'a> {
    fn new(batches: usize, meanwhile: impl FnMut(usize) + 'a) -> Model<'a> {
        Model { batches, saw: Vec::new(), meanwhile: Box::new(meanwhile), calls: 0 }
    }

    /// One round trip with this session. True if it calls tools and wants to be called again.
    fn call(&mut self, session: &[String]) -> bool {
        self.saw.extend_from_slice(&session[self.saw.len()..]);
        (self.meanwhile)(self.calls);
        self.calls += 1;
        self.calls <= self.batches
    }
}

fn text(message: laneway::Message<'_>) -> String {
    String::from_utf8(message.to_vec()).unwrap()
}

/// The loop as it was reported: the queue is looked at after a batch of tools, and nowhere else.
fn naive_turn(mail: &Receiver, session: &mut Vec<String>, model: &mut Model<'_>) {
    while model.call(session) {
        session.extend(mail.try_iter().map(text));
    }
}

/// The same with `Turn`.
fn whole_turn<'a>(idle: Idle<'a>, session: &mut Vec<String>, model: &mut Model<'_>) -> Idle<'a> {
    let mut turn: Turn<'a> = idle.begin(|message| session.push(text(message))).unwrap();
    loop {
        while model.call(session) {
            turn.step(|message| session.push(text(message))).unwrap();
        }
        match turn.finish(|message| session.push(text(message))).unwrap() {
            Ended::Quiet(idle) => return idle,
            Ended::Late(more) => turn = more,
        }
    }
}

fn agent(dir: &tempfile::TempDir) -> (Sender, Receiver) {
    let queue = Queue::create(dir.path().join("agent")).unwrap();
    (queue.sender().unwrap(), queue.receiver().unwrap())
}

#[test]
fn what_is_sent_while_the_agent_is_idle_is_seen_by_the_first_call_of_its_next_turn() {
    let dir = scratch();
    let (mut sender, mail) = agent(&dir);
    sender.send(b"steer").unwrap();
    // A turn that is a plain answer has no middle.
    let (mut session, mut model) = (Vec::new(), Model::new(0, |_| {}));
    naive_turn(&mail, &mut session, &mut model);
    assert!(model.saw.is_empty() && session.is_empty(), "the gap is gone: what does the test show?");
    assert_eq!(mail.count_waiting(0), Some(1), "stranded");

    let mut model = Model::new(0, |_| {});
    let _ = whole_turn(Idle::new(&mail), &mut session, &mut model);
    assert_eq!(model.saw, ["steer"]);
    assert_eq!(model.calls, 1, "seen by the first call");
}

#[test]
fn what_is_sent_during_a_turn_of_one_call_is_seen_in_that_turn() {
    let dir = scratch();
    let (mut sender, mail) = agent(&dir);
    let mut session = Vec::new();
    let steer = |sender: &mut Sender, call| {
        if call == 0 {
            sender.send(b"steer").unwrap();
        }
    };
    let mut model = Model::new(0, |call| steer(&mut sender, call));
    naive_turn(&mail, &mut session, &mut model);
    assert!(model.saw.is_empty() && session.is_empty(), "the gap is gone: what does the test show?");
    drop(model);
    assert_eq!(mail.try_iter().count(), 1, "stranded until an unrelated turn");

    let mut model = Model::new(0, |call| steer(&mut sender, call));
    let idle = whole_turn(Idle::new(&mail), &mut session, &mut model);
    assert_eq!(model.saw, ["steer"]);
    assert_eq!(model.calls, 2, "the turn went on with it");
    assert!(!idle.wait(Duration::ZERO));
}

#[test]
fn whenever_something_is_sent_it_is_seen_before_the_agent_is_idle_again() {
    const TURNS: usize = 200;
    let dir = scratch();
    let (mut sender, mail) = agent(&dir);
    let sending = std::thread::spawn(move || {
        let mut rng = Rng(5);
        for number in 0..TURNS {
            std::thread::sleep(Duration::from_micros(rng.below(80)));
            sender.send(number.to_string().as_bytes()).unwrap();
        }
    });
    let (mut session, mut idle, mut seen) = (Vec::new(), Idle::new(&mail), 0);
    while seen < TURNS {
        // Started by mail, and by nothing else: what was left behind by a turn would be waited for in vain.
        assert!(idle.wait(LONG));
        let mut model = Model::new(seen % 3, |_| std::thread::sleep(Duration::from_micros(30)));
        model.saw.clone_from(&session);
        idle = whole_turn(idle, &mut session, &mut model);
        assert_eq!(model.saw, session, "all that was handled was seen by a call");
        assert!(session.len() > seen);
        seen = session.len();
    }
    assert_eq!(session, (0..TURNS).map(|number| number.to_string()).collect::<Vec<_>>());
    sending.join().unwrap();
}

#[test]
fn what_a_turn_that_was_given_up_did_not_handle_is_for_the_next() {
    let dir = scratch();
    let (mut sender, mail) = agent(&dir);
    sender.send(b"one").unwrap();
    let mut seen = Vec::new();
    let turn = Idle::new(&mail).begin(|message| seen.push(text(message))).unwrap();
    assert_eq!(turn.handled(), 1);
    sender.send(b"two").unwrap();
    drop(turn);
    let turn = Idle::new(&mail).begin(|message| seen.push(text(message))).unwrap();
    assert_eq!(seen, ["one", "two"]);
    assert!(matches!(turn.finish(|_| unreachable!()).unwrap(), Ended::Quiet(_)));
}

/// Another sender's damage is no mail, and no end.
#[test]
fn an_idle_agent_goes_on_waiting_when_a_lane_is_damaged() {
    let dir = scratch();
    let queue = Queue::create(dir.path().join("queue")).unwrap();
    let (mut broken, mut sound) = (queue.sender().unwrap(), queue.sender().unwrap());
    let mail = queue.receiver().unwrap();
    broken.send(b"hello").unwrap();
    // A length that no ring has.
    let lane = queue.path().join(format!("lane-{:03}", broken.lane()));
    support::poke(lane, laneway::layout::RING, &u64::MAX.to_le_bytes());
    sound.send(b"still there").unwrap();
    assert!(Idle::new(&mail).wait(LONG));
    assert_eq!(mail.damage().len(), 1);
    assert!(!Idle::new(&queue_without_mail(&dir)).wait(Duration::from_millis(1)));
}

fn queue_without_mail(dir: &tempfile::TempDir) -> Receiver {
    Queue::create(dir.path().join("empty")).unwrap().receiver().unwrap()
}
