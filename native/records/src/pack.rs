//! MessagePack, as far as the wire has it: written with `rmp`, read from bytes that are kept.

use bytes::Bytes;
use rmp::decode::{self, RmpRead, ValueReadError};
use rmp::Marker;

/// Why bytes are not what they should be, in one sentence.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed(pub String);

impl From<ValueReadError> for Malformed {
    fn from(error: ValueReadError) -> Self {
        Self(error.to_string())
    }
}

impl From<decode::NumValueReadError> for Malformed {
    fn from(error: decode::NumValueReadError) -> Self {
        Self(error.to_string())
    }
}

fn short() -> Malformed {
    Malformed("it ends too early".into())
}

/// Reads values one after the other; what is taken out shares its bytes.
#[derive(Clone)]
pub struct Reader {
    data: Bytes,
    at: usize,
}

impl Reader {
    pub fn new(data: Bytes) -> Self {
        Self { data, at: 0 }
    }

    /// How many elements the array has that begins here.
    pub fn array(&mut self) -> Result<usize, Malformed> {
        Ok(self.read(|rest| decode::read_array_len(rest))? as usize)
    }

    /// How many pairs the map has that begins here.
    pub fn map(&mut self) -> Result<usize, Malformed> {
        Ok(self.read(|rest| decode::read_map_len(rest))? as usize)
    }

    pub fn int(&mut self) -> Result<i64, Malformed> {
        self.read(|rest| decode::read_int(rest))
    }

    pub fn uint(&mut self) -> Result<u64, Malformed> {
        self.read(|rest| decode::read_int(rest))
    }

    pub fn bin(&mut self) -> Result<Bytes, Malformed> {
        let length = self.read(|rest| decode::read_bin_len(rest))?;
        self.take(length as usize)
    }

    /// Bytes, or nothing where there is a nil.
    pub fn bin_or_nil(&mut self) -> Result<Option<Bytes>, Malformed> {
        if self.nil() {
            return Ok(None);
        }
        self.bin().map(Some)
    }

    /// The bytes of a text, whatever they are.
    pub fn text(&mut self) -> Result<Bytes, Malformed> {
        let length = self.read(|rest| decode::read_str_len(rest))?;
        self.take(length as usize)
    }

    /// The bytes of a text that is UTF-8.
    pub fn utf8(&mut self) -> Result<Bytes, Malformed> {
        let text = self.text()?;
        match std::str::from_utf8(&text) {
            Ok(_) => Ok(text),
            Err(error) => Err(Malformed(format!("a text is not UTF-8: {error}"))),
        }
    }

    pub fn flag(&mut self) -> Result<bool, Malformed> {
        self.read(|rest| decode::read_bool(rest))
    }

    /// Whether a nil is here; passes over it.
    pub fn nil(&mut self) -> bool {
        let found = self.data.get(self.at) == Some(&Marker::Null.to_u8());
        self.at += usize::from(found);
        found
    }

    /// How many elements the array has that begins here: at least so many.
    pub fn fields(&mut self, least: usize) -> Result<usize, Malformed> {
        let count = self.array()?;
        if count < least {
            return Err(Malformed(format!(
                "an array of {count} elements, where {least} are needed"
            )));
        }
        Ok(count)
    }

    /// Passes over the elements of an array of `count` behind those that are known.
    pub fn rest(&mut self, count: usize, known: usize) -> Result<(), Malformed> {
        for _ in known..count {
            self.skip()?;
        }
        Ok(())
    }

    /// The bytes of the next value, whatever it is.
    pub fn value(&mut self) -> Result<Bytes, Malformed> {
        let from = self.at;
        self.skip()?;
        Ok(self.data.slice(from..self.at))
    }

    /// Passes over the next value.
    pub fn skip(&mut self) -> Result<(), Malformed> {
        // A loop, so that nothing that is nested deeply ends the stack.
        let mut left = 1_usize;
        while left > 0 {
            left -= 1;
            let (inner, length) = self.read(head)?;
            self.take(length)?;
            left = left.checked_add(inner).ok_or_else(short)?;
        }
        Ok(())
    }

    fn read<T, E: Into<Malformed>>(
        &mut self,
        read: impl FnOnce(&mut &[u8]) -> Result<T, E>,
    ) -> Result<T, Malformed> {
        let mut rest = &self.data[self.at..];
        let before = rest.len();
        let found = read(&mut rest).map_err(Into::into)?;
        self.at += before - rest.len();
        Ok(found)
    }

    fn take(&mut self, length: usize) -> Result<Bytes, Malformed> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.data.len());
        let end = end.ok_or_else(short)?;
        let taken = self.data.slice(self.at..end);
        self.at = end;
        Ok(taken)
    }
}

/// How many values follow that belong to the one here, and how many bytes before them.
fn head(rest: &mut &[u8]) -> Result<(usize, usize), Malformed> {
    let sized = |rest: &mut &[u8], bytes: u32| -> Result<usize, Malformed> {
        let mut length = 0;
        for _ in 0..bytes {
            length = length << 8 | usize::from(rest.read_u8().map_err(|_| short())?);
        }
        Ok(length)
    };
    Ok(match decode::read_marker(rest).map_err(|_| short())? {
        Marker::FixPos(_) | Marker::FixNeg(_) => (0, 0),
        Marker::Null | Marker::True | Marker::False => (0, 0),
        Marker::U8 | Marker::I8 => (0, 1),
        Marker::U16 | Marker::I16 => (0, 2),
        Marker::U32 | Marker::I32 | Marker::F32 => (0, 4),
        Marker::U64 | Marker::I64 | Marker::F64 => (0, 8),
        Marker::FixStr(length) => (0, usize::from(length)),
        Marker::Str8 | Marker::Bin8 => (0, sized(rest, 1)?),
        Marker::Str16 | Marker::Bin16 => (0, sized(rest, 2)?),
        Marker::Str32 | Marker::Bin32 => (0, sized(rest, 4)?),
        Marker::FixArray(length) => (usize::from(length), 0),
        Marker::Array16 => (sized(rest, 2)?, 0),
        Marker::Array32 => (sized(rest, 4)?, 0),
        Marker::FixMap(length) => (2 * usize::from(length), 0),
        Marker::Map16 => (2 * sized(rest, 2)?, 0),
        Marker::Map32 => (2 * sized(rest, 4)?, 0),
        other => return Err(Malformed(format!("{other:?} is nothing that the wire has"))),
    })
}

/// Writes values to a buffer in memory, which takes anything.
pub trait Pack {
    fn array(&mut self, length: usize) -> &mut Self;
    fn map(&mut self, pairs: usize) -> &mut Self;
    fn uint(&mut self, number: u64) -> &mut Self;
    fn bin(&mut self, bytes: &[u8]) -> &mut Self;
    fn text(&mut self, text: &str) -> &mut Self;
    /// A text whose bytes are known to be UTF-8.
    fn utf8(&mut self, text: &[u8]) -> &mut Self;
    fn flag(&mut self, flag: bool) -> &mut Self;
    fn nil(&mut self) -> &mut Self;
    /// Something that is packed already.
    fn packed(&mut self, bytes: &[u8]) -> &mut Self;
}

impl Pack for Vec<u8> {
    fn array(&mut self, length: usize) -> &mut Self {
        let _never = rmp::encode::write_array_len(self, u32::try_from(length).unwrap_or(u32::MAX));
        self
    }

    fn map(&mut self, pairs: usize) -> &mut Self {
        let _never = rmp::encode::write_map_len(self, u32::try_from(pairs).unwrap_or(u32::MAX));
        self
    }

    fn uint(&mut self, number: u64) -> &mut Self {
        let _never = rmp::encode::write_uint(self, number);
        self
    }

    fn bin(&mut self, bytes: &[u8]) -> &mut Self {
        let _never = rmp::encode::write_bin(self, bytes);
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        let _never = rmp::encode::write_str(self, text);
        self
    }

    fn utf8(&mut self, text: &[u8]) -> &mut Self {
        let _never =
            rmp::encode::write_str_len(self, u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.packed(text)
    }

    fn flag(&mut self, flag: bool) -> &mut Self {
        let _never = rmp::encode::write_bool(self, flag);
        self
    }

    fn nil(&mut self) -> &mut Self {
        let _never = rmp::encode::write_nil(self);
        self
    }

    fn packed(&mut self, bytes: &[u8]) -> &mut Self {
        self.extend_from_slice(bytes);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut data = Vec::new();
        data.array(5).uint(300).bin(b"b").text("t").nil().flag(true);
        let mut reader = Reader::new(data.into());
        assert_eq!(reader.array(), Ok(5));
        assert_eq!(reader.uint(), Ok(300));
        assert_eq!(reader.bin().unwrap(), "b");
        assert_eq!(reader.text().unwrap(), "t");
        assert_eq!(reader.bin_or_nil(), Ok(None));
        assert_eq!(reader.value().unwrap(), [0xc3][..]);
        assert!(reader.skip().is_err());
    }

    #[test]
    fn values_of_every_kind_are_passed_over_whole() {
        let mut data = Vec::new();
        data.array(3).array(2).uint(1 << 40).text("text").bin(&[0; 300]).array(0).uint(7);
        let length = data.len();
        let mut reader = Reader::new(data.into());
        assert_eq!(reader.value().unwrap().len(), length - 1);
        assert_eq!(reader.uint(), Ok(7));
    }

    #[test]
    fn bytes_that_lie_about_their_length_are_refused() {
        for data in
            [&[0xdd, 0xff, 0xff, 0xff, 0xff][..], &[0xc6, 0xff, 0xff, 0xff, 0xff, 1], &[0xc1]]
        {
            assert!(Reader::new(Bytes::copy_from_slice(data)).skip().is_err());
        }
        assert!(Reader::new(Bytes::from_static(&[0xc4, 5, 1])).bin().is_err());
    }
}
