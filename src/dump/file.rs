//! What is in a file: its header, its words, its tables.

use super::image::{self, Image};
use super::{Dump, Item, geometry, header};
use crate::error::Fault;
use crate::layout::{self, FileKind, Header, Limits, Note, Word, entry, slot_offset};
use crate::ledger::Key;
use crate::mailbox::{Reason, State};
use crate::queue::{Ticket, lane_number};
use std::path::Path;

/// What is known of a queue while its files are read.
pub(super) struct Reading {
    /// The header of `queue`.
    pub(super) queue: Option<Header>,
    /// Headers by which a file may be read whose own is damaged.
    pub(super) others: Vec<Header>,
    /// The receiver's words.
    pub(super) slots: Option<Image>,
}

impl<E> Dump<'_, E> {
    pub(super) fn file(&mut self, path: &Path, kind: FileKind, reading: &mut Reading) -> Result<(), E> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (file, bytes) = match image::open(path) {
            Ok(opened) => opened,
            Err(error) => return self.problem(format!("`{name}` cannot be read: {error}")),
        };
        self.tell(Item::File { name: name.clone(), bytes })?;
        let own = header::of_file(path);
        let sound = own.as_ref().and_then(|own| geometry(own, &reading.others)).or(reading.others.first()).copied();
        let sound = sound.filter(header::is_usable);
        // Without limits the fixed part is all that can be understood.
        let len = sound.map_or(layout::PAGE, |sound| sound.map_len(kind));
        let image = match Image::of(&file, len) {
            Ok(image) => image,
            Err(error) => return self.problem(format!("`{name}` cannot be read: {error}")),
        };
        if let Some(error) = &image.failure {
            self.problem(format!("it cannot be read from byte {} on: {error}", image.bytes))?;
        }
        match own {
            Some(own) => self.header(&own, kind, reading)?,
            None => self.problem(format!("it has {bytes} bytes, which is less than a header"))?,
        }
        let said = own.map(|own| own.lane).filter(|_| kind == FileKind::Lane);
        if let (Some(said), Some(number)) = (said, lane_number(&name))
            && said != number
        {
            self.problem(format!("its header says that it is lane {said}"))?;
        }
        let needed = sound.map(|sound| sound.file_len(kind)).filter(|needed| bytes < *needed);
        if let Some(needed) = needed {
            self.problem(format!("it has {bytes} bytes, and should have {needed}; what is missing is taken for 0"))?;
        }
        match kind {
            FileKind::Queue => self.limits(&image),
            FileKind::Bell => self.words(layout::BELL_WORDS, &image, 0, None),
            FileKind::Desk => self.words(layout::DESK_WORDS, &image, 0, None),
            FileKind::Receiver => {
                self.receiver(&image, sound.as_ref())?;
                reading.slots = Some(image);
                Ok(())
            }
            FileKind::Ledger => self.ledger(&image, sound.as_ref()),
            FileKind::Lane => {
                self.words(layout::LANE_WORDS, &image, 0, None)?;
                // The name says which lane it is; of a lone file the header does.
                let number = lane_number(&name).or(own.map(|own| own.lane));
                let slot = |offset| reading.slots.as_ref()?.word((slot_offset(number? as usize) + offset) as u64);
                match sound {
                    Some(sound) => self.lane(image, &sound, slot(layout::slot::READ_POS)),
                    None => self.problem("its records cannot be read: no header says how large its ring is".to_owned()),
                }
            }
        }
    }

    fn header(&mut self, own: &Header, kind: FileKind, reading: &Reading) -> Result<(), E> {
        for (name, value) in header::fields(own) {
            self.tell(Item::Field { name, value })?;
        }
        let problems = header::problems(own, kind, reading.queue.as_ref());
        problems.into_iter().try_for_each(|text| self.problem(text))
    }

    /// Words that begin at `base`.
    fn words(&mut self, words: &[Word], image: &Image, base: u64, slot: Option<u32>) -> Result<(), E> {
        for word in words {
            let offset = base + word.offset as u64;
            let value = if word.len == 4 { image.half(offset) } else { image.word(offset) };
            if let Some(value) = value {
                let means = means(word.name, value);
                self.tell(Item::Word { slot, name: word.name.to_lowercase(), offset, value, means })?;
            }
        }
        Ok(())
    }

    /// What the creator set besides the header.
    fn limits(&mut self, image: &Image) -> Result<(), E> {
        let limits: Option<Limits> = image.pod(layout::queue::LIMITS as u64);
        let note: Option<Note> = image.pod(layout::queue::NOTE as u64);
        if let Some(limits) = limits {
            for (name, value) in [
                ("high_water", limits.high_water),
                ("low_water", limits.low_water),
                ("bytes_per_second", limits.bytes_per_second),
                ("burst_bytes", limits.burst_bytes),
                ("messages_per_second", limits.messages_per_second.into()),
                ("burst_messages", limits.burst_messages.into()),
            ] {
                self.tell(Item::Field { name, value: value.to_string() })?;
            }
            if limits.sealed() != limits {
                self.problem("the checksum of the limits is not theirs".to_owned())?;
            }
        }
        if let Some(note) = note.filter(|note| note.words != [0; 15] || note.checksum != 0) {
            let words: Vec<String> = note.words.iter().map(u64::to_string).collect();
            self.tell(Item::Field { name: "note", value: words.join(" ") })?;
            if note.sealed() != note {
                self.problem("the checksum of the note is not its own".to_owned())?;
            }
        }
        Ok(())
    }

    fn receiver(&mut self, image: &Image, sound: Option<&Header>) -> Result<(), E> {
        self.words(layout::RECEIVER_WORDS, image, 0, None)?;
        for lane in 0..sound.map_or(0, |sound| sound.max_lanes) {
            let base = slot_offset(lane as usize) as u64;
            let used =
                (0..layout::slot::LEN as u64).step_by(8).any(|at| image.word(base + at).is_some_and(|word| word != 0));
            if used {
                self.words(layout::SLOT_WORDS, image, base, Some(lane))?;
            }
        }
        Ok(())
    }

    fn ledger(&mut self, image: &Image, sound: Option<&Header>) -> Result<(), E> {
        self.words(layout::LEDGER_WORDS, image, 0, None)?;
        let table = |name: &str, base: usize, count: usize| {
            let name = name.to_owned();
            (0..count).map(move |at| (format!("{name}[{at}]"), (base + 8 * at) as u64))
        };
        let counters = table("counters", layout::ledger::COUNTERS, layout::ledger::COUNTER_COUNT);
        let classes = table("histogram", layout::ledger::HISTOGRAM, layout::ledger::HISTOGRAM_CLASSES);
        for (name, offset) in counters.chain(classes) {
            if let Some(value) = image.word(offset).filter(|value| *value != 0) {
                self.tell(Item::Word { slot: None, name, offset, value, means: None })?;
            }
        }
        for at in 0..sound.map_or(0, |sound| u64::from(sound.ledger_entries)) {
            let base = layout::ledger::ENTRIES as u64 + at * entry::LEN as u64;
            let word = |offset: usize| image.word(base + offset as u64).unwrap_or(0);
            let (key, state) = (word(entry::KEY), word(entry::STATE));
            if key == 0 && state == 0 {
                continue;
            }
            let place = Key::from_word(key).and_then(Key::place);
            self.tell(Item::Entry {
                at,
                key,
                message: place.map(|(lane, position)| Ticket { lane, position }),
                state: State::from_code(state as u8),
                reason: Reason::from_code((state >> 8) as u8),
                attempts: (state >> 16) as u16,
                order: (state >> 32) as u32,
                written_at: word(entry::AT),
                extra: word(entry::EXTRA),
            })?;
        }
        Ok(())
    }
}

/// What a word says, where that can be said in a word.
fn means(name: &str, value: u64) -> Option<String> {
    let said = match (name, value) {
        ("SLEEPS", odd) if odd % 2 == 1 => "asleep, or died asleep".to_owned(),
        ("ROLE", 0) => "away".to_owned(),
        ("ROLE", 1) => "attached, or died attached".to_owned(),
        ("ROLE", 2) => "gone for good".to_owned(),
        ("CLOSED_AT", at) if at > 0 => format!("closed at {}", at - 1),
        ("PRESSURE", 1) => "high".to_owned(),
        ("FAULT", word) if word > 0 => {
            let fault = u32::try_from(word).ok().and_then(Fault::from_word);
            fault.map_or("no fault that this library knows".to_owned(), |fault| fault.sentence().to_owned())
        }
        _ => return None,
    };
    Some(said)
}
