//! Records that were written last: most writes are to keys that were written before.
//!
//! It holds what RocksDB holds, as everything that changes a record passes through one thread.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

/// About what it takes to keep a record, beside the bytes.
const AROUND_BYTES: usize = 256;

/// The bytes of about so much memory of records; of more, those written longest ago go.
#[derive(Default)]
pub struct Recent {
    most: usize,
    size: usize,
    held: HashMap<Bytes, (Bytes, u64)>,
    /// By when they were written, the one written last comes last.
    order: BTreeMap<u64, Bytes>,
    writes: u64,
}

impl Recent {
    /// `most` is in bytes; 0 keeps none.
    pub fn new(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    pub fn get(&self, slot: &[u8]) -> Option<&Bytes> {
        self.held.get(slot).map(|(data, _)| data)
    }

    /// Takes in a record that was written; its bytes are kept as they are, so they must not be part
    /// of something larger.
    pub fn put(&mut self, slot: &Bytes, data: Bytes) {
        self.remove(slot);
        self.writes += 1;
        self.size += weight(slot, &data);
        let slot = Bytes::copy_from_slice(slot);
        self.order.insert(self.writes, slot.clone());
        self.held.insert(slot, (data, self.writes));
        while self.size > self.most {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            if let Some((data, _)) = self.held.remove(&oldest) {
                self.size -= weight(&oldest, &data);
            }
        }
    }

    /// Lets go of a record that was removed.
    pub fn remove(&mut self, slot: &[u8]) {
        if let Some((data, written)) = self.held.remove(slot) {
            self.order.remove(&written);
            self.size -= weight(slot, &data);
        }
    }

    /// Lets go of all, as nobody knows what was written.
    pub fn clear(&mut self) {
        self.held.clear();
        self.order.clear();
        self.size = 0;
    }
}

fn weight(slot: &[u8], data: &[u8]) -> usize {
    slot.len() + data.len() + AROUND_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_written_longest_ago_go() {
        let mut recent = Recent::new(3 * (AROUND_BYTES + 2));
        for slot in ["a", "b", "c", "a", "d"] {
            recent.put(&Bytes::from(slot), "1".into());
        }
        let held: Vec<_> =
            ["a", "b", "c", "d"].map(|slot| recent.get(slot.as_bytes()).is_some()).into();
        assert_eq!(held, [true, false, true, true]);
        recent.remove(b"a");
        recent.put(&Bytes::from("e"), "1".into());
        assert!(recent.get(b"c").is_some() && recent.get(b"a").is_none());
        recent.clear();
        assert_eq!((recent.size, recent.order.len(), recent.held.len()), (0, 0, 0));
    }

    #[test]
    fn without_memory_none_is_kept() {
        let mut recent = Recent::new(0);
        recent.put(&Bytes::from("a"), "1".into());
        assert!(recent.get(b"a").is_none());
    }
}
