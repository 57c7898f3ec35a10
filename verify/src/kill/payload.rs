//! Messages that show what happened to them: four bytes that say which one it is, and then bytes that follow from that and
//! from the length.

use anyhow::{Result, ensure};

/// Of the victim's lane.
pub(super) const OLD: u8 = 1;
/// Sent after a recovery.
pub(super) const NEW: u8 = 2;
/// Of the lane that has nothing to do with it.
pub(super) const BYSTANDER: u8 = 3;

/// Appends message `number` of `sender`. At least 4 bytes.
pub(super) fn write(sender: u8, number: u32, len: usize, to: &mut Vec<u8>) {
    let head = u32::from(sender) << 24 | number;
    let end = to.len() + len;
    to.extend(head.to_le_bytes());
    let mut state = u64::from(head) << 32 ^ len as u64;
    while to.len() < end {
        // SplitMix64. No byte is 0, which is what a hole reads as.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27) | 0x0101_0101_0101_0101;
        let left = end - to.len();
        to.extend(&word.to_le_bytes()[..left.min(8)]);
    }
}

/// Who sent what begins like this, and its number.
pub(super) fn head(bytes: &[u8]) -> (u8, u32) {
    let head = u32::from_le_bytes(bytes.try_into().expect("four bytes"));
    ((head >> 24) as u8, head & 0xff_ffff)
}

/// Sender and number of a message, after checking every byte of it.
pub(super) fn check(bytes: &[u8], room: &mut Vec<u8>) -> Result<(u8, u32)> {
    ensure!(bytes.len() >= 4, "a message of {} bytes is none of ours", bytes.len());
    let (sender, number) = head(&bytes[..4]);
    room.clear();
    write(sender, number, bytes.len(), room);
    ensure!(bytes == room, "message {number} of sender {sender}, {} bytes, is torn", bytes.len());
    Ok((sender, number))
}
