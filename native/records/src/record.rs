//! What a replica keeps for one key, and its bytes on disk and on the wire.
//!
//! Bytes: format version (1 byte), MessagePack of the record as an array, CRC-32 of all before it
//! seeded with the key's slot (4 bytes, big-endian). The seed makes a record found under another
//! key's slot as wrong as a damaged one. `muster_kv.record` says what the fields mean.

use bytes::Bytes;
use ring::digest;

use crate::clock::{Clock, Dot};
use crate::pack::{Malformed, Pack, Reader};

pub const FORMAT: u8 = 1;
pub const CHECKSUM_BYTES: usize = 4;
/// Of an entry of `Record::dead`: the timestamp of what replaced it (8 bytes, big-endian), its op.
pub const DEAD_BYTES: usize = 24;

/// The name of a client's operation.
pub type Op = [u8; 16];

/// A record's bytes are damaged, or another key's. Names the key by hash, never its value.
#[derive(Debug, PartialEq, Eq)]
pub struct Corrupt(pub String);

/// One write that nothing has replaced yet. Times are microseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub dot: Dot,
    /// None is a tombstone.
    pub value: Option<Bytes>,
    pub timestamp_us: u64,
    pub op: Op,
    /// 0 is never.
    pub expires_at_us: u64,
}

/// A take of an operation that must not happen again, although it may be asked for again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    pub op: Op,
    /// Of its value; empty where the client gave no idempotency key.
    pub digest: Bytes,
    pub dot: Dot,
    /// What the writer was told.
    pub clock: Clock,
    pub expires_at_us: u64,
    /// The timestamp of the write that replaced it; 0: none.
    pub superseded_us: u64,
}

/// All that a replica knows of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Sorted by dot.
    pub versions: Vec<Version>,
    pub context: Clock,
    /// Sorted by op, digest and dot.
    pub applied: Vec<Applied>,
    /// The greatest first.
    pub dead: Bytes,
}

impl Record {
    pub fn is_absent(&self) -> bool {
        self.versions.is_empty()
            && self.context.is_empty()
            && self.applied.is_empty()
            && self.dead.is_empty()
    }

    /// Reads the array.
    pub fn read(reader: &mut Reader) -> Result<Self, Malformed> {
        let fields = reader.array()?;
        let mut record = Self::default();
        if fields > 0 {
            record.versions = list(reader, Version::read)?;
        }
        if fields > 1 {
            record.context = Clock::read(reader)?;
        }
        if fields > 2 {
            record.applied = list(reader, Applied::read)?;
        }
        if fields > 3 {
            record.dead = reader.bin()?;
            if record.dead.len() % DEAD_BYTES != 0 {
                return Err(Malformed(format!("{} bytes of dead operations", record.dead.len())));
            }
        }
        reader.rest(fields, 4)?;
        Ok(record)
    }

    /// Writes the array.
    pub fn write(&self, to: &mut Vec<u8>) {
        to.array(4).array(self.versions.len());
        for version in &self.versions {
            version.write(to);
        }
        self.context.write(to);
        to.array(self.applied.len());
        for entry in &self.applied {
            entry.write(to);
        }
        to.bin(&self.dead);
    }
}

impl Version {
    fn read(reader: &mut Reader) -> Result<Self, Malformed> {
        let fields = reader.fields(4)?;
        let version = Self {
            dot: dot(reader)?,
            value: reader.bin_or_nil()?,
            timestamp_us: reader.uint()?,
            op: op(&reader.bin()?)?,
            expires_at_us: if fields > 4 { reader.uint()? } else { 0 },
        };
        reader.rest(fields, 5)?;
        Ok(version)
    }

    fn write(&self, to: &mut Vec<u8>) {
        to.array(5).array(2).utf8(&self.dot.actor).uint(self.dot.counter);
        match &self.value {
            Some(value) => to.bin(value),
            None => to.nil(),
        };
        to.uint(self.timestamp_us).bin(&self.op).uint(self.expires_at_us);
    }
}

impl Applied {
    fn read(reader: &mut Reader) -> Result<Self, Malformed> {
        let fields = reader.fields(5)?;
        let entry = Self {
            op: op(&reader.bin()?)?,
            digest: reader.bin()?,
            dot: dot(reader)?,
            clock: Clock::read(reader)?,
            expires_at_us: reader.uint()?,
            superseded_us: if fields > 5 { reader.uint()? } else { 0 },
        };
        reader.rest(fields, 6)?;
        Ok(entry)
    }

    fn write(&self, to: &mut Vec<u8>) {
        to.array(6).bin(&self.op).bin(&self.digest);
        to.array(2).utf8(&self.dot.actor).uint(self.dot.counter);
        self.clock.write(to);
        to.uint(self.expires_at_us).uint(self.superseded_us);
    }
}

/// Reads the name of an operation.
pub fn op(bytes: &[u8]) -> Result<Op, Malformed> {
    let wrong = || Malformed(format!("the name of an operation has {} bytes", bytes.len()));
    bytes.try_into().map_err(|_| wrong())
}

/// 16 bytes that tell values apart; a tombstone's differ from every value's.
pub fn value_digest(value: Option<&[u8]>) -> [u8; 16] {
    let mut found = [0; 16];
    if let Some(value) = value {
        found.copy_from_slice(&digest::digest(&digest::SHA256, value).as_ref()[..16]);
    }
    found
}

/// The bytes of the record of the key at `slot`.
pub fn encode(record: &Record, slot: &[u8]) -> Bytes {
    let values: usize =
        record.versions.iter().filter_map(|one| one.value.as_ref()).map(Bytes::len).sum();
    let mut data = Vec::with_capacity(values + record.dead.len() + 256);
    data.push(FORMAT);
    record.write(&mut data);
    sealed(data, slot)
}

/// The bytes of a record whose array is packed already.
pub fn seal(packed: &[u8], slot: &[u8]) -> Bytes {
    let mut data = Vec::with_capacity(1 + packed.len() + CHECKSUM_BYTES);
    data.push(FORMAT);
    data.extend_from_slice(packed);
    sealed(data, slot)
}

fn sealed(mut data: Vec<u8>, slot: &[u8]) -> Bytes {
    let checksum = checksum(&data, slot);
    data.extend_from_slice(&checksum);
    data.into()
}

/// The record of the key at `slot`; no bytes are the record of an absent key.
pub fn decode(data: &Bytes, slot: &[u8]) -> Result<Record, Corrupt> {
    if data.is_empty() {
        return Ok(Record::default());
    }
    let mut reader = body(data, slot)?;
    Record::read(&mut reader)
        .map_err(|Malformed(why)| Corrupt(format!("{} is not a record: {why}", name(slot))))
}

/// The array in the bytes, where they are whole and belong to `slot`.
pub fn body(data: &Bytes, slot: &[u8]) -> Result<Reader, Corrupt> {
    let end = check(data, slot)?;
    Ok(Reader::new(data.slice(1..end)))
}

/// Where the array in the bytes ends, which are whole and belong to `slot`.
pub fn check(data: &[u8], slot: &[u8]) -> Result<usize, Corrupt> {
    let end = data.len().saturating_sub(CHECKSUM_BYTES);
    if end <= 1 {
        let size = data.len();
        return Err(Corrupt(format!("{} has {size} bytes, too few for a record", name(slot))));
    }
    if checksum(&data[..end], slot) != data[end..] {
        return Err(Corrupt(format!("{} fails its checksum", name(slot))));
    }
    if data[0] != FORMAT {
        return Err(Corrupt(format!("{} has format {}, expected {FORMAT}", name(slot), data[0])));
    }
    Ok(end)
}

fn checksum(data: &[u8], slot: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(slot);
    checksum.update(data);
    checksum.finalize().to_be_bytes()
}

fn name(slot: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, slot);
    let hex: String = digest.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("the record of key {hex}")
}

fn dot(reader: &mut Reader) -> Result<Dot, Malformed> {
    let fields = reader.fields(2)?;
    let dot = Dot { actor: reader.utf8()?, counter: reader.uint()? };
    reader.rest(fields, 2)?;
    Ok(dot)
}

fn list<T>(
    reader: &mut Reader,
    read: impl Fn(&mut Reader) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let count = reader.array()?;
    // Bytes that lie about it must not have us reserve for all that they name.
    let mut found = Vec::with_capacity(count.min(16));
    for _ in 0..count {
        found.push(read(reader)?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: &[u8] = b"slot";

    fn record() -> Record {
        let dot = Dot { actor: "n#1".into(), counter: 300 };
        let clock: Clock = [("n#1".into(), 300), ("m#2".into(), 7)].into_iter().collect();
        let version = |value| Version {
            dot: dot.clone(),
            value,
            timestamp_us: 1 << 50,
            op: [7; 16],
            expires_at_us: 9,
        };
        Record {
            versions: vec![version(Some("v".into())), version(None)],
            context: clock.clone(),
            applied: vec![Applied {
                op: [0x87; 16],
                digest: Bytes::copy_from_slice(&value_digest(Some(b"v"))),
                dot: dot.clone(),
                clock,
                expires_at_us: 10,
                superseded_us: 0,
            }],
            dead: vec![1; 2 * DEAD_BYTES].into(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let data = encode(&record(), SLOT);
        assert_eq!(decode(&data, SLOT), Ok(record()));
        assert_eq!(decode(&Bytes::new(), SLOT), Ok(Record::default()));
        assert!(Record::default().is_absent() && !record().is_absent());
    }

    #[test]
    fn damage_is_found_and_names_the_key_by_its_hash() {
        let whole = encode(&record(), SLOT);
        for at in 0..whole.len() {
            let mut damaged = whole.to_vec();
            damaged[at] ^= 1;
            assert!(decode(&damaged.into(), SLOT).is_err());
        }
        let Err(Corrupt(why)) = decode(&whole, b"other") else { panic!("another key's") };
        assert_eq!(why, "the record of key d9298a10d1b07358 fails its checksum");
        assert!(decode(&whole.slice(..4), SLOT).is_err());
    }

    #[test]
    fn elements_that_are_not_known_follow_those_that_are() {
        let mut data = Vec::new();
        data.array(5).array(1).array(6).array(3).text("a").uint(1).nil();
        data.nil().uint(5).bin(&[1; 16]).uint(0).text("new");
        data.map(0).array(0).bin(b"").text("new");
        let found = Record::read(&mut Reader::new(data.into())).unwrap();
        assert_eq!((found.versions.len(), found.versions[0].timestamp_us), (1, 5));
        let mut short = Vec::new();
        short.array(1).array(1).array(4).array(2).text("a").uint(1).nil().uint(5).bin(&[1; 16]);
        assert_eq!(Record::read(&mut Reader::new(short.into())).unwrap().versions.len(), 1);
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let read = |data: Vec<u8>| Record::read(&mut Reader::new(data.into()));
        let mut op = Vec::new();
        op.array(1).array(1).array(4).array(2).text("a").uint(1).nil().uint(5).bin(&[1; 15]);
        assert!(read(op).is_err());
        let mut dead = Vec::new();
        dead.array(4).array(0).map(0).array(0).bin(&[1; 25]);
        assert!(read(dead).is_err());
        assert!(read(vec![0x91, 0xdd, 0xff, 0xff, 0xff, 0xff]).is_err());
    }
}
