//! What a write asks its replicas for.

use std::time::SystemTime;

use bytes::Bytes;
use muster_records::merging::Intent;
use muster_records::record::Op;
use ring::rand::{SecureRandom, SystemRandom};

use super::request::Request;

/// Of the first byte of an operation's name: its client gave it a name of its own.
const REMEMBERED: u8 = 0x80;

/// The intent of a write or a deletion. None where the kernel gave no randomness: two writes of one
/// operation would be taken for the same.
pub fn intent(request: &Request, now_us: u64) -> Option<Intent> {
    let lives_us = 1_000_000 * request.ttl_seconds;
    Some(Intent {
        op: fresh_op()?,
        value: request.value.clone(),
        timestamp_us: now_us,
        context: request.context.clone(),
        expires_at_us: if lives_us == 0 { 0 } else { now_us.saturating_add(lives_us) },
        digest: Bytes::new(),
        remember_until_us: 0,
    })
}

pub fn packed(intent: &Intent) -> Bytes {
    let mut packed = Vec::with_capacity(64 + intent.value.as_ref().map_or(0, Bytes::len));
    intent.write(&mut packed);
    packed.into()
}

pub fn unix_us() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn fresh_op() -> Option<Op> {
    let mut op = Op::default();
    SystemRandom::new().fill(&mut op).ok()?;
    op[0] &= !REMEMBERED;
    Some(op)
}
