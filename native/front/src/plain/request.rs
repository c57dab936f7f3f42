//! What a request of a call that can be plain asks for.

use bytes::Bytes;
use muster_records::clock::{Clock, Dot};
use ring::digest::{digest, SHA256};

use super::proto::{self, Field};
use super::{Kind, LARGE_BYTES};

// As `muster_kv.limits` and `muster_kv_coordinator.core.limits` have them.
const KEY_BYTES: usize = 1024;
const CONTEXT_ENTRIES: usize = 256;
const IDEMPOTENCY_KEY_BYTES: usize = 256;
const ACTOR_BYTES: usize = 300;
const COUNTER: u64 = (1 << 53) - 1;
const LONGEST_TTL_SECONDS: u64 = 10 * 365 * 86_400;

const TOKEN_BYTES: usize = 8;
/// The number of a field that a message does not have.
const NONE: u64 = u64::MAX;
const EMPTY: Bytes = Bytes::new();

/// The parts of a request that can be plain.
pub struct Request {
    pub reads: bool,
    pub tenant: Bytes,
    pub key: Bytes,
    /// Of a write.
    pub value: Option<Bytes>,
    pub level: Bytes,
    /// Empty for none.
    pub idempotency_key: Bytes,
    /// What its client has seen, and so replaces.
    pub context: Option<Clock>,
    /// 0 for ever.
    pub ttl_seconds: u64,
}

impl Request {
    /// Reads a request; nothing where it has anything that is not plain.
    pub fn read(kind: Kind, message: &Bytes) -> Option<Self> {
        let mut read = Self {
            reads: kind == Kind::Read,
            tenant: EMPTY,
            key: EMPTY,
            value: (kind == Kind::Write).then_some(EMPTY),
            level: EMPTY,
            idempotency_key: EMPTY,
            context: None,
            ttl_seconds: 0,
        };
        let (value, level, idempotency_key, context, ttl) = match kind {
            Kind::Write => (3, 4, 5, 6, 7),
            Kind::Read => (NONE, 3, NONE, NONE, NONE),
            Kind::Delete => (NONE, 3, 4, 5, NONE),
        };
        for (number, field) in proto::fields(message)? {
            match field {
                Field::Bytes(bytes) if number == 1 => read.tenant = bytes,
                Field::Bytes(bytes) if number == 2 => read.key = bytes,
                Field::Bytes(bytes) if number == value => read.value = Some(bytes),
                Field::Bytes(bytes) if number == level => read.level = bytes,
                Field::Bytes(bytes) if number == idempotency_key => read.idempotency_key = bytes,
                // One that comes in parts is left to who joins them.
                Field::Bytes(bytes) if number == context && read.context.is_none() => {
                    read.context = Some(seen(&bytes)?);
                }
                Field::Varint(seconds) if number == ttl => read.ttl_seconds = seconds,
                _ => return None,
            }
        }
        let plain = is_text(&read.key, KEY_BYTES)
            && read.value.as_ref().is_none_or(|value| value.len() <= LARGE_BYTES)
            && (!read.is_keyed() || is_text(&read.idempotency_key, IDEMPOTENCY_KEY_BYTES))
            && read.ttl_seconds <= LONGEST_TTL_SECONDS;
        plain.then_some(read)
    }

    /// Whether its client may ask for the same again, under an idempotency key.
    pub fn is_keyed(&self) -> bool {
        !self.idempotency_key.is_empty()
    }

    /// Where storage keeps a key's record, and its token; see `muster_kv.slots`.
    pub fn slot(&self) -> (Bytes, u64) {
        let (tenant, key) = (&self.tenant, &self.key);
        let mut named = Vec::with_capacity(TOKEN_BYTES + tenant.len() + 1 + key.len());
        named.extend_from_slice(tenant);
        named.push(b':');
        named.extend_from_slice(key);
        let hash = digest(&SHA256, &named);
        let mut token = [0; TOKEN_BYTES];
        token.copy_from_slice(&hash.as_ref()[..TOKEN_BYTES]);
        named[tenant.len()] = 0;
        named.splice(..0, token);
        (named.into(), u64::from_be_bytes(token))
    }
}

/// A context that a client can have been given.
fn seen(message: &Bytes) -> Option<Clock> {
    let mut clock = Clock::default();
    for field in proto::fields(message)? {
        let (1, Field::Bytes(entry)) = field else { return None };
        clock.know(&dot(&entry)?);
    }
    (clock.len() <= CONTEXT_ENTRIES).then_some(clock)
}

fn dot(entry: &Bytes) -> Option<Dot> {
    let mut dot = Dot { actor: EMPTY, counter: 0 };
    for field in proto::fields(entry)? {
        match field {
            (1, Field::Bytes(actor)) => dot.actor = actor,
            (2, Field::Varint(counter)) => dot.counter = counter,
            _ => return None,
        }
    }
    let plain = is_text(&dot.actor, ACTOR_BYTES) && (1..=COUNTER).contains(&dot.counter);
    plain.then_some(dot)
}

/// Whether it is a text of one byte up to so many.
fn is_text(bytes: &[u8], most: usize) -> bool {
    (1..=most).contains(&bytes.len()) && std::str::from_utf8(bytes).is_ok()
}

#[cfg(test)]
mod tests {
    use super::super::proto::Write;
    use super::*;

    fn request(kind: Kind, fields: &[(u8, &[u8])]) -> Option<Request> {
        let mut message = Vec::new();
        for (field, bytes) in fields {
            message.message(*field, bytes);
        }
        Request::read(kind, &message.into())
    }

    #[test]
    fn what_asks_for_a_rule_is_not_plain() {
        let plain: &[(u8, &[u8])] = &[(1, b"t"), (2, b"k"), (3, b"v"), (4, b"one")];
        let read = request(Kind::Write, plain).unwrap();
        assert_eq!((read.value.unwrap(), read.level), ("v".into(), "one".into()));
        for (field, bytes) in [(5, &b"\xff"[..]), (5, &[b'i'; 257]), (7, b""), (15, b"")] {
            assert!(request(Kind::Write, &[plain, &[(field, bytes)]].concat()).is_none());
        }
        assert!(request(Kind::Read, &[(1, b"t"), (2, b"k"), (3, b"all")]).is_some());
        let keyed = |kind, field, key| {
            let read = request(kind, &[(1, b"t"), (2, b"k"), (field, key)]);
            read.map(|read| (read.is_keyed(), read.idempotency_key))
        };
        assert_eq!(keyed(Kind::Write, 5, b"again"), Some((true, "again".into())));
        assert_eq!(keyed(Kind::Delete, 4, b"again"), Some((true, "again".into())));
        assert_eq!(keyed(Kind::Write, 5, b""), Some((false, EMPTY)));
        assert_eq!(keyed(Kind::Read, 4, b"again"), None);
        assert!(request(Kind::Delete, &[(1, b"t"), (2, b"k")]).unwrap().value.is_none());
    }

    #[test]
    fn a_context_is_what_its_client_has_seen() {
        let entry = |actor: &[u8], counter| {
            let mut entry = Vec::new();
            entry.bytes(1, actor);
            entry.number(2, counter);
            entry
        };
        let context = |entries: &[Vec<u8>]| {
            let mut context = Vec::new();
            for entry in entries {
                context.message(1, entry);
            }
            request(Kind::Delete, &[(1, b"t"), (2, b"k"), (5, &context)])?.context
        };
        let clock = |entries: &[(&'static str, u64)]| -> Clock {
            entries.iter().map(|(actor, counter)| (Bytes::from(*actor), *counter)).collect()
        };
        assert_eq!(context(&[]), Some(Clock::default()));
        let twice = [entry(b"n#1", 7), entry(b"m#2", 1), entry(b"n#1", 300), entry(b"n#1", 8)];
        assert_eq!(context(&twice), Some(clock(&[("n#1", 300), ("m#2", 1)])));
        assert_eq!(context(&[entry(b"n#1", COUNTER)]), Some(clock(&[("n#1", COUNTER)])));
        for wrong in [
            entry(b"", 1),
            entry(b"n#1", 0),
            entry(b"n#1", COUNTER + 1),
            entry(b"n#1", u64::MAX),
            entry(&[b'n'; ACTOR_BYTES + 1], 1),
            entry(b"\xff", 1),
            vec![0x18, 1],
        ] {
            assert!(context(&[entry(b"m#2", 1), wrong]).is_none());
        }
        let of = |kind, times| {
            let fields: &[(u8, &[u8])] = &[(2, b"k"), (6, b""), (6, b"")];
            request(kind, &fields[..=times]).map(|read| read.context.is_some())
        };
        assert_eq!([0, 1, 2].map(|times| of(Kind::Write, times)), [Some(false), Some(true), None]);
        assert_eq!(of(Kind::Read, 1), None);
    }

    #[test]
    fn a_time_to_live_beyond_reason_is_not_plain() {
        let lives = |kind, seconds| {
            let mut message = vec![0x12, 1, b'k'];
            message.number(7, seconds);
            Request::read(kind, &message.into()).map(|read| read.ttl_seconds)
        };
        assert_eq!(lives(Kind::Write, 0), Some(0));
        assert_eq!(lives(Kind::Write, LONGEST_TTL_SECONDS), Some(LONGEST_TTL_SECONDS));
        assert_eq!(lives(Kind::Write, LONGEST_TTL_SECONDS + 1), None);
        assert_eq!(lives(Kind::Write, u64::MAX), None);
        assert_eq!(lives(Kind::Delete, 1), None);
    }

    #[test]
    fn keys_that_can_be_none_and_large_values_are_not_plain() {
        assert!(request(Kind::Read, &[(1, b"t")]).is_none());
        assert!(request(Kind::Read, &[(1, b"t"), (2, &[b'k'; 1025])]).is_none());
        assert!(request(Kind::Read, &[(1, b"t"), (2, b"\xff")]).is_none());
        let large = [0; LARGE_BYTES + 1];
        assert!(request(Kind::Write, &[(1, b"t"), (2, b"k"), (3, &large)]).is_none());
        assert!(request(Kind::Write, &[(1, b"t"), (2, b"k")]).unwrap().value.is_some());
    }

    #[test]
    fn a_slot_is_the_one_that_storage_nodes_know() {
        let asked = request(Kind::Read, &[(1, b"t"), (2, b"key")]).unwrap();
        let (slot, token) = asked.slot();
        // The first bytes of the SHA-256 of `t:key`.
        assert_eq!(slot[..TOKEN_BYTES], token.to_be_bytes());
        assert_eq!(slot[TOKEN_BYTES..], *b"t\0key");
        assert_eq!(token, 0x2963e02fa306b2da);
    }
}
