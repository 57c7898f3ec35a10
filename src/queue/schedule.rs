//! Which lane to look at next.
//!
//! Lanes are in classes, one for each priority. Within a class they take turns of [`QUANTUM`] bytes. Lanes that were
//! busy lately are *hot* and looked at on every round, after the one that had its turn; the others are *cold* and
//! looked at a few at a time, so that a thousand idle lanes cost almost nothing.
//!
//! Between classes, the most urgent that has something goes first, and where lanes of a higher class are known a turn is
//! interrupted after each message to look at them. So that the lower ones do not starve, they are *owed* a [`SHARE`]th of
//! what goes over them, and are served first, a message at a time, while they are owed something. What a class is
//! owed by Urgent counts before Urgent, what Low is owed by Normal alone counts before Normal only: an urgent message
//! that comes after a quiet time waits for nobody. What is found empty has nothing to ask for, and begins again.
//!
//! Plain bookkeeping: knows nothing of memory; what looking means is a closure.

use super::Priority;

/// Bytes that a lane may deliver before the others of its class have their turn. Also what higher classes may deliver,
/// from when a class was found empty, before they owe it anything.
pub(super) const QUANTUM: u64 = 16 << 10;

/// A class is owed one byte for as many that go over it.
const SHARE: i64 = 16;

/// Cold lanes that are looked at in one round.
const SLICE: usize = 8;

/// Rounds in which a hot lane may have nothing before it turns cold.
const PATIENCE: u32 = 1024;

/// A turn that lasts one message, however short.
const ONE_MESSAGE: u64 = 1;

#[derive(Default)]
pub(super) struct Schedule {
    /// The most urgent first.
    classes: [Class; 3],
    /// The class that has the turn.
    class: usize,
    /// The class in whose stead it has it; itself when it is nobody's.
    over: usize,
}

impl Schedule {
    /// A lane that has just come is expected to be busy.
    pub(super) fn add(&mut self, lane: u32, priority: Priority) {
        self.classes[priority as usize].add(lane);
    }

    /// Accounts for what was delivered since the last time. `dry` says that the lane had nothing more although its turn
    /// was not over.
    pub(super) fn delivered(&mut self, bytes: u64, dry: bool) {
        let Schedule { classes, class, over } = self;
        classes[*class].delivered(bytes, dry);
        if bytes == 0 {
            return;
        }
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX / SHARE);
        if class != over {
            let owed = &mut classes[*class].owed[*over];
            *owed = owed.saturating_sub(bytes * SHARE);
        }
        for lower in classes.iter_mut().skip(*class + 1).filter(|lower| !lower.is_empty()) {
            lower.owed[*over] = lower.owed[*over].saturating_add(bytes);
        }
    }

    /// One round: the first lane at which `look` finds something, which then has its turn, of so many bytes.
    pub(super) fn next<T>(&mut self, mut look: impl FnMut(u32) -> Option<T>) -> Option<(T, u64)> {
        for over in 0..self.classes.len() {
            if self.classes[over].is_empty() {
                continue;
            }
            for class in (over + 1..self.classes.len()).rev() {
                if self.classes[class].owed[over] > 0 {
                    match self.classes[class].next(&mut look) {
                        Some(found) => return Some((found, self.give(class, over))),
                        None => self.classes[class].owed[over] = NOT_YET,
                    }
                }
            }
            if let Some(found) = self.classes[over].next(&mut look) {
                return Some((found, self.give(over, over)));
            }
        }
        None
    }

    /// The short way after an interruption: the lane that goes on, and for how many bytes; none when there is anything
    /// that `next` has to weigh. `has_word` is a quick look that may find what turns out to be nothing.
    pub(super) fn resume(
        &mut self,
        has_word: impl Fn(u32) -> bool,
        has_message: impl FnOnce(u32) -> bool,
    ) -> Option<(u32, u64)> {
        let is_owed = self.classes[1..].iter().any(|class| class.owed.iter().any(|owed| *owed > 0));
        if self.class != self.over || self.classes[self.class].left == 0 || is_owed || !self.is_interrupted() {
            return None;
        }
        let (higher, rest) = self.classes.split_at_mut(self.class);
        let lane = rest[0].lane;
        let goes_on = !higher.iter_mut().any(|higher| higher.glance(&has_word)) && has_message(lane);
        goes_on.then_some((lane, ONE_MESSAGE))
    }

    /// As `next`, but looks at every lane, and at no class before a higher one.
    pub(super) fn next_of_all<T>(&mut self, mut look: impl FnMut(u32) -> Option<T>) -> Option<(T, u64)> {
        for class in 0..self.classes.len() {
            if let Some(found) = self.classes[class].next_of_all(&mut look) {
                return Some((found, self.give(class, class)));
            }
        }
        None
    }

    /// Whether there are lanes that the one that has the turn must not keep waiting.
    pub(super) fn is_interrupted(&self) -> bool {
        self.classes[..self.class].iter().any(|higher| !higher.is_empty())
    }

    /// Gives a class the turn, and says for how many bytes: to the end of the quantum, unless that would keep a higher
    /// class waiting, or one that is owed something on the way.
    fn give(&mut self, class: usize, over: usize) -> u64 {
        (self.class, self.over) = (class, over);
        if self.is_interrupted() {
            return ONE_MESSAGE;
        }
        let lower = self.classes[class + 1..].iter().filter(|lower| !lower.is_empty());
        let unowed = lower.map(|lower| 1 - lower.owed[over].min(0)).min();
        unowed.map_or(QUANTUM, |bytes| bytes.unsigned_abs()).min(self.classes[class].left)
    }
}

/// What a class that has just been found empty is owed.
const NOT_YET: i64 = -(QUANTUM as i64);

/// The lanes of one priority.
struct Class {
    /// The lane that had the last turn is the last of them.
    hot: Vec<Hot>,
    cold: Vec<u32>,
    cold_cursor: usize,
    /// The lane that has, or had, this class's turn.
    lane: u32,
    /// Bytes left of it, when it was interrupted.
    left: u64,
    /// It ended because the lane had nothing more.
    dry: bool,
    /// What it is owed by each higher class, bytes times [`SHARE`].
    owed: [i64; 2],
}

struct Hot {
    lane: u32,
    misses: u32,
}

impl Default for Class {
    fn default() -> Class {
        let (hot, cold) = (Vec::new(), Vec::new());
        Class { hot, cold, cold_cursor: 0, lane: 0, left: 0, dry: false, owed: [NOT_YET; 2] }
    }
}

impl Class {
    fn add(&mut self, lane: u32) {
        self.hot.push(Hot { lane, misses: 0 });
    }

    fn is_empty(&self) -> bool {
        self.hot.is_empty() && self.cold.is_empty()
    }

    fn delivered(&mut self, bytes: u64, dry: bool) {
        self.left = if dry { 0 } else { self.left.saturating_sub(bytes) };
        self.dry = dry || bytes == 0 && self.dry;
    }

    /// One round. The lane whose turn was interrupted goes on.
    ///
    /// When the last one had something to the end of its turn, cold lanes are looked at first, so that lanes which are
    /// always busy do not keep them cold for ever.
    fn next<T>(&mut self, look: &mut impl FnMut(u32) -> Option<T>) -> Option<T> {
        if self.left > 0 {
            if let Some(found) = look(self.lane) {
                return Some(found);
            }
            (self.left, self.dry) = (0, true);
        }
        let turn_over = !self.dry;
        if turn_over && let Some(found) = self.look_at_cold(look) {
            return Some(found);
        }
        for at in 0..self.hot.len() {
            if let Some(found) = look(self.hot[at].lane) {
                self.begin_turn(self.hot[at].lane);
                self.hot[at].misses = 0;
                self.hot[..=at].rotate_left(at);
                self.hot.rotate_left(1);
                return Some(found);
            }
            self.hot[at].misses += 1;
        }
        let cold = &mut self.cold;
        self.hot.retain(|hot| {
            let keep = hot.misses < PATIENCE;
            if !keep {
                cold.push(hot.lane);
            }
            keep
        });
        if turn_over { None } else { self.look_at_cold(look) }
    }

    fn next_of_all<T>(&mut self, look: &mut impl FnMut(u32) -> Option<T>) -> Option<T> {
        let mut lanes = self.hot.iter().map(|hot| hot.lane).chain(self.cold.iter().copied());
        let (lane, found) = lanes.find_map(|lane| look(lane).map(|found| (lane, found)))?;
        self.begin_turn(lane);
        Some(found)
    }

    fn look_at_cold<T>(&mut self, look: &mut impl FnMut(u32) -> Option<T>) -> Option<T> {
        for _ in 0..SLICE.min(self.cold.len()) {
            self.cold_cursor = (self.cold_cursor + 1) % self.cold.len();
            let lane = self.cold[self.cold_cursor];
            if let Some(found) = look(lane) {
                self.cold.swap_remove(self.cold_cursor);
                self.cold_cursor = self.cold_cursor.saturating_sub(1);
                self.add(lane);
                self.begin_turn(lane);
                return Some(found);
            }
        }
        None
    }

    /// Whether a quick look finds something. A cold lane that has something is the next to be looked at.
    fn glance(&mut self, has_word: impl Fn(u32) -> bool) -> bool {
        for _ in 0..SLICE.min(self.cold.len()) {
            let at = (self.cold_cursor + 1) % self.cold.len();
            if has_word(self.cold[at]) {
                return true;
            }
            self.cold_cursor = at;
        }
        self.hot.iter().any(|hot| has_word(hot.lane))
    }

    fn begin_turn(&mut self, lane: u32) {
        (self.lane, self.left, self.dry) = (lane, QUANTUM, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Priority::{Low, Normal, Urgent};

    fn with_lanes(lanes: impl IntoIterator<Item = (u32, Priority)>) -> Schedule {
        let mut schedule = Schedule::default();
        lanes.into_iter().for_each(|(lane, priority)| schedule.add(lane, priority));
        schedule
    }

    fn normal(lanes: u32) -> Schedule {
        with_lanes((0..lanes).map(|lane| (lane, Normal)))
    }

    /// A receiver of lanes that hold so many messages of so many bytes each.
    struct Mail {
        schedule: Schedule,
        lanes: Vec<(u64, u64)>,
        delivered: Vec<u64>,
    }

    impl Mail {
        fn new(lanes: &[(Priority, u64, u64)]) -> Mail {
            Mail {
                schedule: with_lanes((0..).zip(lanes).map(|(lane, (priority, ..))| (lane, *priority))),
                lanes: lanes.iter().map(|(_, count, bytes)| (*count, *bytes)).collect(),
                delivered: vec![0; lanes.len()],
            }
        }

        /// One turn: which lane, and how many messages.
        fn turn(&mut self) -> Option<(u32, u64)> {
            let lanes = &mut self.lanes;
            let has = |lane: u32| lanes[lane as usize].0 > 0;
            let resumed = self.schedule.resume(has, has);
            let (lane, turn) = resumed.or_else(|| self.schedule.next(|lane| has(lane).then_some(lane)))?;
            let (count, bytes) = &mut lanes[lane as usize];
            let messages = turn.div_ceil(*bytes).min(*count);
            *count -= messages;
            self.delivered[lane as usize] += messages * *bytes;
            self.schedule.delivered(messages * *bytes, messages * *bytes < turn);
            Some((lane, messages))
        }

        /// Turns until so many bytes were delivered.
        fn turns_for(&mut self, bytes: u64) -> Vec<(u32, u64)> {
            let mut turns = Vec::new();
            while self.delivered.iter().sum::<u64>() < bytes {
                turns.push(self.turn().expect("nobody runs dry"));
            }
            turns
        }
    }

    const ENDLESS: u64 = 1 << 40;

    #[test]
    #[cfg_attr(miri, ignore = "long, and arithmetic alone")]
    fn busy_lanes_take_turns() {
        let mut schedule = normal(4);
        let turns: Vec<u32> = (0..8)
            .map(|_| {
                let (lane, bytes) = schedule.next(|lane| (lane != 2).then_some(lane)).unwrap();
                assert_eq!(bytes, QUANTUM, "nobody interrupts it");
                schedule.delivered(bytes, false);
                lane
            })
            .collect();
        assert_eq!(turns, [0, 1, 3, 0, 1, 3, 0, 1]);
    }

    #[test]
    #[cfg_attr(miri, ignore = "long, and arithmetic alone")]
    fn an_idle_lane_turns_cold_and_is_found_again_although_another_is_always_busy() {
        let mut schedule = normal(100);
        for _ in 0..=PATIENCE {
            schedule.next(|_| None::<()>);
        }
        assert!(schedule.classes[Normal as usize].hot.is_empty());
        let mut looks = 0;
        let mut rounds = 0;
        loop {
            rounds += 1;
            let found = schedule.next(|lane| {
                looks += 1;
                (lane == 0 || lane == 99).then_some(lane)
            });
            match found {
                Some((99, _)) => break,
                found => schedule.delivered(found.map_or(0, |(_, bytes)| bytes), false),
            }
        }
        assert!(rounds <= 100 / SLICE + 3, "{rounds} rounds");
        assert!(looks <= 100 + 2 * rounds, "{looks} looks");
        assert_eq!(normal(100).next_of_all(|lane| (lane == 77).then_some(lane)), Some((77, QUANTUM)));
    }

    #[test]
    #[cfg_attr(miri, ignore = "long, and arithmetic alone")]
    fn within_a_class_a_flooding_lane_takes_no_more_than_its_turns() {
        // One sends messages larger than a turn, one sends small ones, and an urgent lane interrupts them at each message.
        let mut mail = Mail::new(&[(Normal, ENDLESS, 20_000), (Normal, ENDLESS, 100), (Urgent, 0, 8)]);
        mail.turns_for(100 << 20);
        let [large, small, _] = mail.delivered[..] else { unreachable!() };
        // A turn ends with a whole message: 20,000 bytes for one, 16,400 for the other.
        let share = small as f64 / large as f64;
        assert!((0.81..0.83).contains(&share), "{share}");
    }

    #[test]
    #[cfg_attr(miri, ignore = "long, and arithmetic alone")]
    fn an_urgent_message_comes_next_in_the_middle_of_a_turn_which_then_goes_on() {
        let mut mail = Mail::new(&[(Normal, ENDLESS, 1000), (Normal, ENDLESS, 1000), (Urgent, 0, 100), (Low, 10, 64)]);
        assert_eq!([(); 3].map(|()| mail.turn().unwrap()), [(0, 1); 3], "one message at a time");
        mail.lanes[2].0 = 2;
        assert_eq!(mail.turn(), Some((2, 2)), "both: nobody is owed anything yet");
        // The other 14 of 16,384 bytes, what Low is owed by then, and then the other lane.
        assert_eq!([(); 14].map(|()| mail.turn().unwrap()), [(0, 1); 14]);
        assert_eq!([(); 4].map(|()| mail.turn().unwrap()), [(3, 1), (1, 1), (3, 1), (1, 1)]);
    }

    #[test]
    #[cfg_attr(miri, ignore = "long, and arithmetic alone")]
    fn an_urgent_lane_among_many_that_were_idle_waits_for_a_few_messages_at_most() {
        let idle = [(Urgent, 0, 100); 50];
        let mut mail = Mail::new(&[&[(Normal, ENDLESS, 100)][..], &idle].concat());
        while !mail.schedule.classes[Urgent as usize].hot.is_empty() {
            mail.turn();
        }
        for lane in [7, 50, 1, 33, 34, 35] {
            mail.lanes[lane].0 = 1;
            let waited = (0..1000).take_while(|_| mail.turn().unwrap().0 == 0).count();
            assert!(waited <= 50 / SLICE, "lane {lane} waited for {waited} messages");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "long, and arithmetic alone")]
    fn where_no_higher_class_is_known_nothing_is_interrupted() {
        let mut mail = Mail::new(&[(Normal, ENDLESS, 1024), (Normal, ENDLESS, 1024)]);
        assert_eq!([(); 4].map(|()| mail.turn().unwrap()), [(0, 16), (1, 16), (0, 16), (1, 16)]);
        assert_eq!(mail.schedule.classes[Low as usize].owed, [NOT_YET; 2], "nobody keeps books for nobody");
    }

    #[test]
    #[cfg_attr(miri, ignore = "long, and arithmetic alone")]
    fn lower_classes_get_their_share_a_message_at_a_time() {
        for (urgent, normal, low) in [(64, 64, 64), (16, 4000, 40_000), (1 << 20, 16, 16), (300, 50_000, 8)] {
            let mut mail = Mail::new(&[(Urgent, ENDLESS, urgent), (Normal, ENDLESS, normal), (Low, ENDLESS, low)]);
            let turns = mail.turns_for(1 << 26);
            let [over, middle, under] = mail.delivered[..] else { unreachable!() };
            let what = format!("{urgent}, {normal}, {low} bytes: {:?}", mail.delivered);
            // What is still owed is less than the start and a message of each make up.
            let open = QUANTUM + urgent + normal + low;
            assert!(middle * 16 + open >= over && under * 16 + open >= over + middle, "too little: {what}");
            assert!(middle * 16 <= over + 16 * open && under * 16 <= over + middle + 16 * open, "too much: {what}");
            assert!(turns.iter().all(|(lane, messages)| *lane == 0 || *messages == 1), "{what}");
            assert_eq!(turns.iter().find(|(lane, _)| *lane != 0), Some(&(2, 1)), "the lowest first: {what}");
            let between = turns.split(|(lane, _)| *lane == 0);
            for (lane, bytes) in [(1, normal), (2, low)] {
                let most = between.clone().map(|turns| turns.iter().filter(|turn| turn.0 == lane).count()).max();
                let bound = (urgent + urgent / 16 + normal).div_ceil(16 * bytes) as usize;
                assert!(most <= Some(bound), "{most:?} of lane {lane} between two urgent ones: {what}");
            }
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "long, and arithmetic alone")]
    fn what_is_owed_for_normal_mail_keeps_no_urgent_message_waiting() {
        let mut mail = Mail::new(&[(Urgent, 0, 8), (Normal, ENDLESS, 100), (Low, ENDLESS, 1)]);
        let mut low = 0;
        for turn in 0..10_000 {
            mail.lanes[0].0 = u64::from(turn % 7 == 0);
            let (lane, _) = mail.turn().unwrap();
            assert_eq!(lane == 0, turn % 7 == 0, "turn {turn}");
            low += u64::from(lane == 2);
        }
        assert!(low * 16 + QUANTUM + 100 >= mail.delivered[1], "{low} bytes of Low: {:?}", mail.delivered);
    }

    #[test]
    #[cfg_attr(miri, ignore = "long, and arithmetic alone")]
    fn nothing_is_hoarded() {
        let mut mail = Mail::new(&[(Urgent, ENDLESS, 64), (Normal, 0, 64), (Low, 0, 64)]);
        mail.turns_for(100 << 20);
        (mail.lanes[1].0, mail.lanes[2].0) = (ENDLESS, ENDLESS);
        mail.turns_for(101 << 20);
        for lane in [1, 2] {
            let share = mail.delivered[lane] * 16;
            assert!(share <= (1 << 20) + 2 * QUANTUM, "lane {lane} got {share} / 16 bytes of the last MiB");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "long, and arithmetic alone")]
    fn one_of_each_comes_in_order_and_so_does_a_look_at_all() {
        let one_of_each = [(Low, 1, 64), (Normal, 1, 64), (Urgent, 1, 64)];
        let mut mail = Mail::new(&one_of_each);
        assert_eq!([(); 3].map(|()| mail.turn().unwrap().0), [2, 1, 0]);
        assert_eq!(mail.turn(), None);
        let mut schedule = Mail::new(&one_of_each).schedule;
        assert_eq!(schedule.next_of_all(Some), Some((2, QUANTUM)));
        assert_eq!(schedule.next_of_all(|lane| (lane < 2).then_some(lane)), Some((1, ONE_MESSAGE)));
    }
}
