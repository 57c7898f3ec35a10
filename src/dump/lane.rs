//! The records of a lane.

use super::image::Image;
use super::{Dump, Item};
use crate::error::Broken;
use crate::layout::{self, Header, Kind, SEGMENT_SLOTS, lane, segment};
use crate::record::{Record, Rules, Walk};
use crate::ring::is_position;
use crate::segments::{Entry, Table};

impl<E> Dump<'_, E> {
    /// The segment table, and every record from the oldest that was not overwritten.
    pub(super) fn lane(&mut self, image: Image, sound: &Header, read_pos: Option<u64>) -> Result<(), E> {
        let table = Table::new(&image.region, sound.ring_capacity, sound.overflow_limit);
        self.segments(&image, &table)?;
        let word = |offset: usize| image.word(offset as u64).unwrap_or(0);
        let (accepted, hint) = (word(lane::ACCEPTED), word(lane::WRITE_HINT));
        let begin = match read_pos {
            None => {
                let text =
                    format!("the receiver's position is not known: reading from the sender's word for it, {accepted}");
                self.problem(text)?;
                accepted
            }
            Some(read_pos) if !is_position(accepted) || accepted > read_pos => {
                self.problem(format!("`accepted` is {accepted}, and the receiver is at {read_pos}"))?;
                read_pos
            }
            Some(_) => accepted,
        };
        let lane = Lane { image: &image, table: &table, sound, read_pos: read_pos.unwrap_or(begin), hint };
        let reached = self.records(&lane, begin)?;
        // What lies before the receiver's position is of less interest than what lies behind it.
        if reached < lane.read_pos && begin < lane.read_pos {
            self.problem(format!("reading goes on at the receiver's position, {}", lane.read_pos))?;
            let read_pos = lane.read_pos;
            self.records(&lane, read_pos)?;
        }
        Ok(())
    }

    fn segments(&mut self, image: &Image, table: &Table) -> Result<(), E> {
        for slot in 0..SEGMENT_SLOTS {
            let base = lane::SEGMENTS as u64 + u64::from(slot) * segment::LEN as u64;
            let word = |offset: usize| image.word(base + offset as u64).unwrap_or(0);
            let end = word(segment::END);
            if end != 0 {
                // Also of a lane that may not grow, in which none is possible.
                let entry = Entry::of_words(slot, end, word);
                let possible = table.limit() > 0 && table.is_possible(&entry);
                let Entry { start, offset, window, from, .. } = entry;
                self.tell(Item::Segment { slot, start, end, offset, window, from, possible })?;
            }
        }
        Ok(())
    }

    /// Every record from `begin` on, and why there is no other. Gives how far that is.
    fn records(&mut self, lane: &Lane<'_>, begin: u64) -> Result<u64, E> {
        let Lane { image, table, sound, read_pos, hint } = *lane;
        let rules = Rules { table, max_len: sound.max_message };
        let ring = image.region.window(&table.ring());
        let broken = |broken: Broken| format!("{} (found {:#018x})", broken.fault.sentence(), broken.found);
        let mut walk = match Walk::new(rules, &ring, begin) {
            Ok(walk) if is_position(begin) => walk,
            Ok(_) => {
                return self
                    .end(begin, false, "no position is that high or no multiple of 8".to_owned())
                    .map(|()| begin);
            }
            Err(wrong) => return self.end(begin, false, broken(wrong)).map(|()| begin),
        };
        loop {
            let (position, place) = (walk.at, walk.place);
            let offset = place.offset + (position & (place.window - 1));
            let found = walk.next();
            let is_there = |end: u64| end <= image.bytes;
            match found {
                Ok(Some(record)) => {
                    let payload = if record.kind == Kind::Data {
                        walk.payload(&record, self.options.payload)
                    } else {
                        Vec::new()
                    };
                    let Record { len, next, .. } = record;
                    let released = position < read_pos;
                    let last = offset + layout::record_len(if record.kind == Kind::Data { len as usize } else { 0 });
                    self.tell(Item::Record {
                        position,
                        offset,
                        kind: kind(record.kind),
                        len,
                        next,
                        released,
                        payload,
                    })?;
                    if !is_there(last) {
                        let text = format!("the file ends at byte {}, before that record does", image.bytes);
                        return self.end(walk.at, false, text).map(|()| walk.at);
                    }
                }
                Ok(None) if !is_there(offset + 8) => {
                    let text = format!("the file ends at byte {}, and this would be at {offset}", image.bytes);
                    return self.end(position, false, text).map(|()| position);
                }
                Ok(None) if hint > position => {
                    let text = format!("nothing is committed here, but the sender says that it came to {hint}");
                    return self.end(position, false, text).map(|()| position);
                }
                Ok(None) => return self.end(position, true, "nothing is committed here".to_owned()).map(|()| position),
                Err(wrong) => return self.end(position, false, broken(wrong)).map(|()| position),
            }
        }
    }

    fn end(&mut self, position: u64, sound: bool, why: String) -> Result<(), E> {
        self.tell(Item::End { position, sound, why })
    }
}

/// What it takes to read a lane.
struct Lane<'a> {
    image: &'a Image,
    table: &'a Table,
    sound: &'a Header,
    read_pos: u64,
    hint: u64,
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Data => "data",
        Kind::Pad => "pad",
        Kind::Jump => "jump",
        Kind::Gap => "gap",
    }
}
