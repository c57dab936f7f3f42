//! Protobuf's wire format, as far as plain calls have it.

use bytes::Bytes;

/// More fields than this no plain message has.
const MOST_FIELDS: usize = 256;

/// A field with its number; lengths are checked.
#[derive(Debug, PartialEq, Eq)]
pub enum Field {
    Varint(u64),
    Bytes(Bytes),
}

/// The fields of a message in order; nothing where it has any of another form, or too many.
pub fn fields(message: &Bytes) -> Option<Vec<(u64, Field)>> {
    let mut found = Vec::with_capacity(8);
    let mut at = 0;
    while at < message.len() {
        if found.len() == MOST_FIELDS {
            return None;
        }
        let key = varint(message, &mut at)?;
        let field = match key & 7 {
            0 => Field::Varint(varint(message, &mut at)?),
            2 => {
                let length = usize::try_from(varint(message, &mut at)?).ok()?;
                let end = at.checked_add(length).filter(|end| *end <= message.len())?;
                let bytes = message.slice(at..end);
                at = end;
                Field::Bytes(bytes)
            }
            _ => return None,
        };
        found.push((key >> 3, field));
    }
    Some(found)
}

fn varint(message: &[u8], at: &mut usize) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *message.get(*at)?;
        *at += 1;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Writes fields; those with the value that they have by default are left out.
pub trait Write {
    fn number(&mut self, field: u8, number: u64);
    fn bytes(&mut self, field: u8, bytes: &[u8]);
    /// A message, which may be empty.
    fn message(&mut self, field: u8, message: &[u8]);
}

impl Write for Vec<u8> {
    fn number(&mut self, field: u8, number: u64) {
        if number != 0 {
            self.push(field << 3);
            put(self, number);
        }
    }

    fn bytes(&mut self, field: u8, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.message(field, bytes);
        }
    }

    fn message(&mut self, field: u8, message: &[u8]) {
        self.push(field << 3 | 2);
        put(self, message.len() as u64);
        self.extend_from_slice(message);
    }
}

fn put(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut message = Vec::new();
        message.number(1, 0);
        message.number(1, 300);
        message.bytes(2, b"");
        message.bytes(2, b"key");
        message.message(4, b"");
        let expected = [
            (1, Field::Varint(300)),
            (2, Field::Bytes("key".into())),
            (4, Field::Bytes(Bytes::new())),
        ];
        assert_eq!(fields(&message.into()).unwrap(), expected);
    }

    #[test]
    fn what_is_cut_off_or_of_another_form_is_not_plain() {
        for message in
            [&[0x08][..], &[0x08, 0x80], &[0x12, 5, 1], &[0x0d, 0, 0, 0, 0], &[0x12, 0xff]]
        {
            assert_eq!(fields(&Bytes::copy_from_slice(message)), None);
        }
        assert_eq!(fields(&Bytes::from(vec![0xff; 20])), None);
        let many = |count: usize| Bytes::from([8, 1].repeat(count));
        assert_eq!(fields(&many(MOST_FIELDS)).map(|found| found.len()), Some(MOST_FIELDS));
        assert_eq!(fields(&many(MOST_FIELDS + 1)), None);
    }
}
