//! Frames: length (4 bytes, big-endian, of all after it), kind (1 byte), body.

use bytes::{Buf, Bytes, BytesMut};

pub const HEAD_BYTES: usize = 5;
/// A frame that says more is not ours.
pub const MAX_FRAME_BYTES: usize = 64 * 1024 * 1024;
/// Of one request by its weight, so that its frame stays below.
pub const MAX_BODY_BYTES: usize = MAX_FRAME_BYTES - 1024 * 1024;
/// A frame is closed when it has this much, so that one large value does not hold up many small.
pub const FULL_FRAME_BYTES: usize = 1024 * 1024;

/// What frames hold; see `muster_kv.wire.frames`.
pub mod kind {
    pub const HELLO: u8 = 1;
    pub const CHALLENGE: u8 = 2;
    pub const PROOF: u8 = 3;
    pub const WELCOME: u8 = 4;
    pub const REFUSED: u8 = 5;
    pub const REQUESTS: u8 = 6;
    pub const REPLIES: u8 = 7;
    pub const PING: u8 = 8;
    pub const PONG: u8 = 9;
}

/// A frame with a body that is packed already.
pub fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut data = Vec::with_capacity(HEAD_BYTES + body.len());
    data.extend_from_slice(&head(kind, body.len()));
    data.extend_from_slice(body);
    data
}

/// What goes before a body of so many bytes, which is below the largest.
pub fn head(kind: u8, length: usize) -> [u8; HEAD_BYTES] {
    let [a, b, c, d] = u32::try_from(length + 1).unwrap_or(u32::MAX).to_be_bytes();
    [a, b, c, d, kind]
}

/// Cuts the first frame off, if it is whole; fails at a length that no frame has.
pub fn cut(data: &mut BytesMut, limit: usize) -> Result<Option<(u8, Bytes)>, String> {
    let Some(&[a, b, c, d, kind]) = data.first_chunk::<HEAD_BYTES>() else { return Ok(None) };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if !(1..=limit).contains(&length) {
        return Err(format!("frame length: {length}; allowed: 1 to {limit}"));
    }
    if data.len() < 4 + length {
        data.reserve(4 + length - data.len());
        return Ok(None);
    }
    let mut whole = data.split_to(4 + length);
    whole.advance(HEAD_BYTES);
    Ok(Some((kind, whole.freeze())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_whole_however_they_were_cut() {
        let sent = [frame(kind::PING, b"a"), frame(kind::REPLIES, b"")].concat();
        let mut data = BytesMut::new();
        let mut found = Vec::new();
        for byte in sent {
            data.extend_from_slice(&[byte]);
            found.extend(cut(&mut data, 100).unwrap());
        }
        assert_eq!(found, [(kind::PING, Bytes::from("a")), (kind::REPLIES, Bytes::new())]);
    }

    #[test]
    fn a_length_that_no_frame_has_is_refused() {
        assert!(cut(&mut BytesMut::from(&[0, 0, 0, 0, 1][..]), 100).is_err());
        assert!(cut(&mut BytesMut::from(&[0, 0, 0, 101, 1][..]), 100).is_err());
    }
}
