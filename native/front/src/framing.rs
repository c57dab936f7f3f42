//! Messages and timeouts as gRPC writes them on HTTP/2.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::compression::Encoding;
use crate::status::{code, Status};

/// One byte says whether the message is compressed, four how long it is.
const PREFIX: usize = 5;

/// Cuts what comes in into messages.
pub struct Messages {
    gathered: BytesMut,
    largest: usize,
    encoding: Encoding,
}

impl Messages {
    /// Messages of at most `largest` bytes, in an encoding or in none.
    pub fn new(largest: usize, encoding: Encoding) -> Self {
        Self { gathered: BytesMut::new(), largest, encoding }
    }

    /// Takes the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.gathered.extend_from_slice(piece);
    }

    /// The next message, where it is whole; fails as soon as it can't be taken.
    pub fn take(&mut self) -> Result<Option<Bytes>, Status> {
        let Some((compressed, length)) = self.head() else { return Ok(None) };
        if length > self.largest {
            let text = format!("Received message larger than max ({length} vs. {})", self.largest);
            return Err(Status::new(code::RESOURCE_EXHAUSTED, text));
        }
        if self.gathered.len() < PREFIX + length {
            return Ok(None);
        }
        self.gathered.advance(PREFIX);
        let message = self.gathered.split_to(length).freeze();
        if compressed {
            self.encoding.unpacked(&message, self.largest).map(Some)
        } else {
            Ok(Some(message))
        }
    }

    /// Whether nothing has come after the last message.
    pub fn is_empty(&self) -> bool {
        self.gathered.is_empty()
    }

    fn head(&self) -> Option<(bool, usize)> {
        let head: &[u8; PREFIX] = self.gathered.get(..PREFIX)?.try_into().ok()?;
        let [compressed, length @ ..] = *head;
        Some((compressed != 0, u32::from_be_bytes(length) as usize))
    }
}

/// Gathers the one message of a unary call.
pub struct Message {
    messages: Messages,
    whole: Option<Bytes>,
}

impl Message {
    /// A message of at most `largest` bytes, in an encoding or in none.
    pub fn new(largest: usize, encoding: Encoding) -> Self {
        Self { messages: Messages::new(largest, encoding), whole: None }
    }

    /// Takes the next piece; fails as soon as the whole can't be taken.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), Status> {
        self.messages.push(piece);
        if self.whole.is_none() {
            self.whole = self.messages.take()?;
        }
        if self.whole.is_some() && !self.messages.is_empty() {
            return Err(Status::new(code::UNIMPLEMENTED, "a unary call has one message"));
        }
        Ok(())
    }

    /// The message, when no piece follows.
    pub fn end(self) -> Result<Bytes, Status> {
        match self.whole {
            Some(message) => Ok(message),
            None if self.messages.is_empty() => {
                Err(Status::new(code::UNIMPLEMENTED, "a unary call has one message, and none came"))
            }
            None => Err(cut_off()),
        }
    }
}

/// How a call ends that its client has ended within a message.
pub fn cut_off() -> Status {
    Status::new(code::INTERNAL, "the message ends before its length")
}

/// A message with what goes before it; `None` above 4 GiB.
pub fn framed(message: &[u8]) -> Option<Bytes> {
    let length = u32::try_from(message.len()).ok()?;
    let mut whole = BytesMut::with_capacity(PREFIX + message.len());
    whole.put_u8(0);
    whole.put_u32(length);
    whole.put_slice(message);
    Some(whole.freeze())
}

/// How long the message of a frame is.
pub fn message_bytes(frame: &Bytes) -> usize {
    frame.len().saturating_sub(PREFIX)
}

/// The value of `grpc-timeout`: up to eight digits and a unit.
pub fn timeout(value: &[u8]) -> Result<Duration, Status> {
    let malformed = || {
        let shown = String::from_utf8_lossy(value);
        let text =
            format!("grpc-timeout: got {shown:?}; allowed: 1 to 8 digits and H, M, S, m, u or n");
        Status::new(code::INTERNAL, text)
    };
    let (unit, digits) = value.split_last().ok_or_else(malformed)?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(malformed());
    }
    let number = digits.iter().fold(0, |sum, digit| 10 * sum + u64::from(digit - b'0'));
    match unit {
        b'H' => Ok(Duration::from_secs(3600 * number)),
        b'M' => Ok(Duration::from_secs(60 * number)),
        b'S' => Ok(Duration::from_secs(number)),
        b'm' => Ok(Duration::from_millis(number)),
        b'u' => Ok(Duration::from_micros(number)),
        b'n' => Ok(Duration::from_nanos(number)),
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered(pieces: &[&[u8]], largest: usize) -> Result<Bytes, u8> {
        let mut message = Message::new(largest, Encoding::Identity);
        for piece in pieces {
            message.push(piece).map_err(|status| status.code)?;
        }
        message.end().map_err(|status| status.code)
    }

    #[test]
    fn a_message_comes_whole_however_it_was_cut() {
        let frame = framed(b"hello").unwrap();
        for cut in 0..=frame.len() {
            let (first, second) = frame.split_at(cut);
            assert_eq!(gathered(&[first, second], 5).unwrap(), "hello");
        }
        assert_eq!(gathered(&[&framed(b"").unwrap()], 0).unwrap(), "");
        assert_eq!(message_bytes(&frame), 5);
    }

    #[test]
    fn what_is_not_one_message_is_refused() {
        let frame = framed(b"hello").unwrap();
        assert_eq!(gathered(&[&frame], 4), Err(code::RESOURCE_EXHAUSTED));
        assert_eq!(gathered(&[&frame[..5]], 4), Err(code::RESOURCE_EXHAUSTED));
        assert_eq!(gathered(&[&frame, &frame], 5), Err(code::UNIMPLEMENTED));
        assert_eq!(gathered(&[], 5), Err(code::UNIMPLEMENTED));
        assert_eq!(gathered(&[&frame[..7]], 5), Err(code::INTERNAL));
        assert_eq!(gathered(&[&frame[..3]], 5), Err(code::INTERNAL));
        assert_eq!(gathered(&[&[1, 0, 0, 0, 0]], 5), Err(code::INTERNAL));
    }

    #[test]
    fn many_messages_come_in_their_order_however_they_were_cut() {
        let sent = [framed(b"one").unwrap(), framed(b"").unwrap(), framed(b"three").unwrap()];
        let sent = sent.concat();
        for size in 1..=sent.len() {
            let mut messages = Messages::new(5, Encoding::Identity);
            let mut found = Vec::new();
            for piece in sent.chunks(size) {
                messages.push(piece);
                while let Some(message) = messages.take().unwrap() {
                    found.push(message);
                }
            }
            assert_eq!(found, ["one", "", "three"]);
            assert!(messages.is_empty());
        }
    }

    #[test]
    fn timeouts_in_every_unit() {
        let cases: [(&str, Duration); 6] = [
            ("2H", Duration::from_secs(7200)),
            ("3M", Duration::from_secs(180)),
            ("99999999S", Duration::from_secs(99_999_999)),
            ("250m", Duration::from_millis(250)),
            ("1u", Duration::from_micros(1)),
            ("0n", Duration::ZERO),
        ];
        for (text, expected) in cases {
            assert_eq!(timeout(text.as_bytes()), Ok(expected));
        }
        for text in ["", "S", "1", "1s", "123456789S", "-1S", "1.5S"] {
            assert_eq!(timeout(text.as_bytes()).unwrap_err().code, code::INTERNAL, "{text}");
        }
    }
}
