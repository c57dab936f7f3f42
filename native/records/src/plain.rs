//! What can be seen of a record's bytes without reading all of it.

use bytes::Bytes;

use crate::pack::{Malformed, Reader};
use crate::record::{self, Corrupt};

/// The one value of a record that has no other version.
#[derive(Debug, PartialEq, Eq)]
pub struct Single {
    pub value: Bytes,
    pub expires_at_us: u64,
    /// A packed map.
    pub context: Bytes,
}

fn body(data: &Bytes, slot: &[u8]) -> Result<Reader, Malformed> {
    record::body(data, slot).map_err(|Corrupt(why)| Malformed(why))
}

/// How many versions a record has.
pub fn versions(data: &Bytes, slot: &[u8]) -> Result<usize, Malformed> {
    let mut reader = body(data, slot)?;
    reader.array()?;
    reader.array()
}

/// What a reader is shown where it is plain; nothing where there are siblings or no value.
pub fn single(data: &Bytes, slot: &[u8], now_us: u64) -> Option<Single> {
    let mut reader = body(data, slot).ok()?;
    let mut read = || -> Result<Option<Single>, Malformed> {
        reader.array()?;
        if reader.array()? != 1 {
            return Ok(None);
        }
        let fields = reader.array()?;
        reader.skip()?;
        let Some(value) = reader.bin_or_nil()? else { return Ok(None) };
        reader.skip()?;
        reader.skip()?;
        let expires_at_us = reader.uint()?;
        for _ in 5..fields {
            reader.skip()?;
        }
        Ok(Some(Single { value, expires_at_us, context: reader.value()? }))
    };
    let found = read().ok().flatten()?;
    (found.expires_at_us == 0 || found.expires_at_us > now_us).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::Pack;
    use crate::record::FORMAT;

    const SLOT: &[u8] = b"slot";

    fn record(values: &[Option<&[u8]>], expires_at_us: u64) -> Bytes {
        let mut data = vec![FORMAT];
        data.array(4).array(values.len());
        for value in values {
            data.array(5).array(2).text("n#1").uint(1);
            match value {
                Some(value) => data.bin(value),
                None => data.nil(),
            };
            data.uint(5).bin(&[7; 16]).uint(expires_at_us);
        }
        data.packed(&[0x81, 0xa3, b'n', b'#', b'1', 1]).array(0).bin(b"");
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(SLOT);
        checksum.update(&data);
        data.extend_from_slice(&checksum.finalize().to_be_bytes());
        data.into()
    }

    #[test]
    fn one_value_is_plain() {
        let found = single(&record(&[Some(b"v")], 9), SLOT, 8).unwrap();
        assert_eq!((found.value, found.expires_at_us), ("v".into(), 9));
        assert_eq!(found.context, [0x81, 0xa3, b'n', b'#', b'1', 1][..]);
        assert_eq!(versions(&record(&[Some(b"v"), None], 0), SLOT), Ok(2));
    }

    #[test]
    fn siblings_deletions_and_what_is_over_are_not() {
        assert!(single(&record(&[Some(b"v"), Some(b"w")], 0), SLOT, 8).is_none());
        assert!(single(&record(&[None], 0), SLOT, 8).is_none());
        assert!(single(&record(&[], 0), SLOT, 8).is_none());
        assert!(single(&record(&[Some(b"v")], 8), SLOT, 8).is_none());
        assert!(single(&Bytes::new(), SLOT, 8).is_none());
    }

    #[test]
    fn damage_and_the_records_of_others_are_found() {
        let whole = record(&[Some(b"v")], 0);
        assert!(versions(&whole, b"other").is_err());
        for at in 0..whole.len() {
            let mut damaged = whole.to_vec();
            damaged[at] ^= 1;
            assert!(versions(&damaged.into(), SLOT).is_err());
        }
    }
}
