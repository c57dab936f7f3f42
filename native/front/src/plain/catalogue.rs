//! What must be known to answer plain calls: tenants, where their keys are, how long things may take.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

/// Keys that are remembered to have had large values.
const LARGE_KEYS: usize = 10_000;

/// How many replicas of a key a client wants to have answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    One,
    Quorum,
    All,
}

impl Level {
    /// The level of that name; nothing for what is none, or is spelt in another way.
    pub fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"one" => Some(Self::One),
            b"quorum" => Some(Self::Quorum),
            b"all" => Some(Self::All),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Quorum => "quorum",
            Self::All => "all",
        }
    }

    /// How many of so many replicas it needs.
    pub fn needs(self, factor: u32) -> u32 {
        match self {
            Self::One => 1,
            Self::Quorum => factor / 2 + 1,
            Self::All => factor,
        }
    }
}

/// What calls of a tenant are plain.
#[derive(Debug, Clone, Copy)]
pub struct Tenant {
    pub factor: u32,
    /// The version of the ring when it was looked up.
    pub known_at: u64,
    pub writes: bool,
    /// Writes with an idempotency key among them.
    pub keyed: bool,
    /// Nothing for no limit.
    pub writes_per_minute: Option<u64>,
    pub reads_per_minute: Option<u64>,
    pub unsynced: bool,
}

struct Entry {
    tenant: Tenant,
    until: Instant,
    used: bool,
}

/// For what calls that name nothing else.
#[derive(Debug, Clone, Copy)]
pub struct Defaults {
    pub level: Level,
    pub writing: Duration,
    pub reading: Duration,
}

/// Where keys are in one version of a ring that does not change.
struct Ring {
    version: u64,
    /// Before which nothing that is known of tenants places them rightly.
    factors_version: u64,
    /// In their order.
    tokens: Vec<u64>,
    /// By replication factor, for each token.
    placements: HashMap<u32, Vec<Arc<[usize]>>>,
}

#[derive(Default)]
pub struct Catalogue {
    defaults: Option<Defaults>,
    tenants: HashMap<Bytes, Entry>,
    ring: Option<Ring>,
    large: HashSet<Bytes>,
}

impl Catalogue {
    /// From now on plain calls are answered.
    pub fn open(&mut self, defaults: Defaults) {
        self.defaults = Some(defaults);
    }

    pub fn defaults(&self) -> Option<Defaults> {
        self.defaults
    }

    pub fn keep(&mut self, name: Bytes, tenant: Tenant, until: Instant) {
        self.tenants.insert(name, Entry { tenant, until, used: false });
    }

    pub fn forget(&mut self, name: &[u8]) {
        self.tenants.remove(name);
    }

    pub fn forget_all(&mut self) {
        self.tenants.clear();
    }

    /// Whether a tenant was used since this was asked last.
    pub fn used(&mut self, name: &[u8]) -> bool {
        self.tenants.get_mut(name).is_some_and(|entry| std::mem::take(&mut entry.used))
    }

    /// Keys are placed so from now on; nowhere where nothing is said.
    pub fn ring(&mut self, ring: Option<(u64, u64, Vec<u64>)>) {
        self.ring = ring.map(|(version, factors_version, tokens)| Ring {
            version,
            factors_version,
            tokens,
            placements: HashMap::new(),
        });
    }

    /// The nodes for each token in the ring in use.
    pub fn place(&mut self, version: u64, factor: u32, placements: Vec<Arc<[usize]>>) {
        let ring = self.ring.as_mut();
        let fits =
            |ring: &&mut Ring| ring.version == version && ring.tokens.len() == placements.len();
        if let Some(ring) = ring.filter(fits) {
            ring.placements.insert(factor, placements);
        }
    }

    pub fn tenant(&mut self, name: &[u8], now: Instant) -> Option<Tenant> {
        let entry = self.tenants.get_mut(name).filter(|entry| now < entry.until)?;
        entry.used = true;
        Some(entry.tenant)
    }

    /// The version of the ring, and the nodes of a token.
    pub fn nodes(&self, tenant: &Tenant, token: u64) -> Option<(u64, Arc<[usize]>)> {
        let ring = self.ring.as_ref()?;
        if tenant.known_at < ring.factors_version || ring.tokens.is_empty() {
            return None;
        }
        let at = ring.tokens.partition_point(|other| *other < token) % ring.tokens.len();
        Some((ring.version, Arc::clone(ring.placements.get(&tenant.factor)?.get(at)?)))
    }

    /// Whether a key's value was large: then there are better ways to read it.
    pub fn is_large(&self, slot: &[u8]) -> bool {
        !self.large.is_empty() && self.large.contains(slot)
    }

    pub fn note_large(&mut self, slot: Bytes) {
        if self.large.len() >= LARGE_KEYS {
            self.large.clear();
        }
        self.large.insert(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: Tenant = Tenant {
        factor: 1,
        known_at: 5,
        writes: true,
        keyed: true,
        writes_per_minute: None,
        reads_per_minute: Some(1),
        unsynced: false,
    };

    fn placed() -> Catalogue {
        let mut catalogue = Catalogue::default();
        catalogue.ring(Some((7, 5, vec![10, 20])));
        catalogue.place(7, 1, vec![[0].into(), [1].into()]);
        catalogue
    }

    #[test]
    fn a_token_belongs_to_the_next_one_on_the_ring() {
        let catalogue = placed();
        let node = |token| catalogue.nodes(&TENANT, token).map(|(_, nodes)| nodes[0]);
        assert_eq!([5, 10, 11, 20, 21].map(node), [0, 0, 1, 1, 0].map(Some));
        assert_eq!(catalogue.nodes(&TENANT, 0).map(|(version, _)| version), Some(7));
    }

    #[test]
    fn nothing_is_placed_by_what_may_be_old() {
        let mut catalogue = placed();
        assert!(catalogue.nodes(&Tenant { known_at: 4, ..TENANT }, 0).is_none());
        assert!(catalogue.nodes(&Tenant { factor: 3, ..TENANT }, 0).is_none());
        catalogue.place(6, 3, vec![[0].into(), [1].into()]);
        assert!(catalogue.nodes(&Tenant { factor: 3, ..TENANT }, 0).is_none());
        catalogue.ring(None);
        assert!(catalogue.nodes(&TENANT, 0).is_none());
    }

    #[test]
    fn tenants_are_known_for_their_time() {
        let (mut catalogue, now) = (Catalogue::default(), Instant::now());
        let second = Duration::from_secs(1);
        for name in ["a", "b"] {
            catalogue.keep(name.into(), TENANT, now + second);
        }
        assert!(!catalogue.used(b"a"));
        assert!(catalogue.tenant(b"a", now).is_some());
        assert!(catalogue.used(b"a") && !catalogue.used(b"a"));
        assert!(catalogue.tenant(b"a", now + second).is_none());
        catalogue.forget(b"a");
        assert!(catalogue.tenant(b"a", now).is_none());
        catalogue.forget_all();
        assert!(catalogue.tenant(b"b", now).is_none());
    }

    #[test]
    fn levels_as_they_are_named() {
        for level in [Level::One, Level::Quorum, Level::All] {
            assert_eq!(Level::named(level.name().as_bytes()), Some(level));
        }
        assert_eq!(Level::named(b"Quorum"), None);
        assert_eq!([Level::One, Level::Quorum, Level::All].map(|one| one.needs(5)), [1, 3, 5]);
    }
}
