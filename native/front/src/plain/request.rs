//! What a request of a call that can be plain asks for.

use bytes::Bytes;
use ring::digest::{digest, SHA256};

use super::proto::{self, Field};
use super::{Kind, LARGE_BYTES};

const KEY_BYTES: usize = 1024;
const TOKEN_BYTES: usize = 8;
const EMPTY: Bytes = Bytes::new();

/// The parts of a request that can be plain.
pub struct Request {
    pub reads: bool,
    pub tenant: Bytes,
    pub key: Bytes,
    /// Of a write.
    pub value: Option<Bytes>,
    pub level: Bytes,
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
        };
        let consistency = if kind == Kind::Write { 4 } else { 3 };
        for (number, field) in proto::fields(message)? {
            let Field::Bytes(bytes) = field else { return None };
            match number {
                1 => read.tenant = bytes,
                2 => read.key = bytes,
                3 if kind == Kind::Write => read.value = Some(bytes),
                number if number == consistency => read.level = bytes,
                _ => return None,
            }
        }
        let plain = (1..=KEY_BYTES).contains(&read.key.len())
            && read.value.as_ref().is_none_or(|value| value.len() <= LARGE_BYTES)
            && std::str::from_utf8(&read.key).is_ok();
        plain.then_some(read)
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
        for (field, bytes) in [(5, &b"idempotency"[..]), (6, b""), (7, b""), (15, b"")] {
            assert!(request(Kind::Write, &[plain, &[(field, bytes)]].concat()).is_none());
        }
        assert!(request(Kind::Read, &[(1, b"t"), (2, b"k"), (3, b"all")]).is_some());
        assert!(request(Kind::Delete, &[(1, b"t"), (2, b"k"), (4, b"idempotency")]).is_none());
        assert!(request(Kind::Delete, &[(1, b"t"), (2, b"k")]).unwrap().value.is_none());
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
