//! What a write asks its replicas for.

use std::time::SystemTime;

use bytes::Bytes;
use muster_records::pack::Pack;
use ring::rand::{SecureRandom, SystemRandom};

pub const OP_BYTES: usize = 16;
/// Of the first byte of an operation's name: its client gave it a name of its own.
const REMEMBERED: u8 = 0x80;

/// A blind intent; see `muster_kv.merging`.
pub fn intent(op: &[u8], value: Option<&[u8]>, timestamp_us: u64) -> Bytes {
    let mut packed = Vec::with_capacity(48 + value.map_or(0, <[u8]>::len));
    packed.array(7).bin(op);
    match value {
        Some(value) => packed.bin(value),
        None => packed.nil(),
    };
    packed.uint(timestamp_us).nil().uint(0).bin(b"").uint(0);
    packed.into()
}

/// None where the kernel gave no randomness: two writes of one op would be taken for the same.
pub fn fresh_op() -> Option<[u8; OP_BYTES]> {
    let mut op = [0; OP_BYTES];
    SystemRandom::new().fill(&mut op).ok()?;
    op[0] &= !REMEMBERED;
    Some(op)
}

pub fn unix_us() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
