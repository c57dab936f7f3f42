//! What a write asks its replicas for.

use std::time::SystemTime;

use bytes::Bytes;
use muster_records::merging::Intent;
use muster_records::record::{value_digest, Op};
use ring::digest::{Context, SHA256};
use ring::rand::{SecureRandom, SystemRandom};

use super::request::Request;

/// Of the first byte of an operation's name: its client gave it a name of its own.
const REMEMBERED: u8 = 0x80;
/// How long it is recognised then.
const REMEMBERED_US: u64 = 24 * 3600 * 1_000_000;

/// The intent of a write or a deletion. None where the kernel gave no randomness: two writes of one
/// operation would be taken for the same.
pub fn intent(request: &Request, now_us: u64) -> Option<Intent> {
    let lives_us = 1_000_000 * request.ttl_seconds;
    let keyed = request.is_keyed();
    let digest = || Bytes::copy_from_slice(&value_digest(request.value.as_deref()));
    Some(Intent {
        op: if keyed { named_op(request) } else { fresh_op()? },
        value: request.value.clone(),
        timestamp_us: now_us,
        context: request.context.clone(),
        expires_at_us: if lives_us == 0 { 0 } else { now_us.saturating_add(lives_us) },
        digest: if keyed { digest() } else { Bytes::new() },
        remember_until_us: if keyed { now_us.saturating_add(REMEMBERED_US) } else { 0 },
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

/// The name of an operation that its client may ask for again; see `muster_kv.ops`.
fn named_op(request: &Request) -> Op {
    let mut hash = Context::new(&SHA256);
    for part in [&request.tenant, &request.key, &request.idempotency_key] {
        // So that parts do not run into each other; each is far below 4 GiB.
        hash.update(&(part.len() as u32).to_be_bytes());
        hash.update(part);
    }
    let mut op = Op::default();
    op.copy_from_slice(&hash.finish().as_ref()[..size_of::<Op>()]);
    op[0] |= REMEMBERED;
    op
}

#[cfg(test)]
mod tests {
    use super::super::proto::Write;
    use super::super::Kind;
    use super::*;

    const NOW: u64 = 1 << 50;

    fn asked(fields: &[(u8, &[u8])], ttl_seconds: u64) -> Intent {
        let mut message = Vec::new();
        for (field, bytes) in fields {
            message.message(*field, bytes);
        }
        message.number(7, ttl_seconds);
        intent(&Request::read(Kind::Write, &message.into()).unwrap(), NOW).unwrap()
    }

    #[test]
    fn a_write_without_rules_is_blind_and_like_no_other() {
        let fields: &[(u8, &[u8])] = &[(1, b"t"), (2, b"k"), (3, b"v")];
        let (one, other) = (asked(fields, 0), asked(fields, 0));
        assert_ne!(one.op, other.op);
        assert_eq!(one.op[0] & REMEMBERED, 0);
        assert_eq!((one.value, one.timestamp_us), (Some("v".into()), NOW));
        assert_eq!((one.context, one.expires_at_us), (None, 0));
        assert_eq!((one.digest.len(), one.remember_until_us), (0, 0));
    }

    #[test]
    fn rules_are_asked_for_as_the_core_asks() {
        let fields: &[(u8, &[u8])] = &[(1, b"t"), (2, b"k"), (3, b"v"), (5, b"pay-7"), (6, b"")];
        let one = asked(fields, 100);
        assert_eq!(one, asked(fields, 100));
        // `op_of("t", "k", "pay-7")`
        let op = b"\xd4\x6b\xe7\x0a\x14\x29\x51\x71\x0e\xc8\x79\xb5\xdf\x66\xa9\x37";
        assert_eq!(one.op, *op);
        assert_eq!(one.digest, value_digest(Some(b"v"))[..]);
        assert_eq!(one.context.map(|context| context.len()), Some(0));
        assert_eq!(
            (one.expires_at_us, one.remember_until_us),
            (NOW + 100_000_000, NOW + REMEMBERED_US)
        );
    }
}
