//! The Python face of plain calls, `muster_front._front.Plain`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use super::catalogue::{Defaults, Level, Tenant};
use super::{Begun, KINDS};
use crate::storage::face::{answered, ended};
use crate::storage::Storage;

/// What plain calls are answered by; see `_front.pyi`.
#[pyclass(frozen, module = "muster_front._front")]
pub struct Plain(pub Arc<super::Plain>);

#[pymethods]
impl Plain {
    fn open(&self, level: &str, write_seconds: f64, read_seconds: f64) -> PyResult<()> {
        let level = Level::named(level.as_bytes())
            .ok_or_else(|| PyValueError::new_err(format!("level: got {level:?}")))?;
        let (writing, reading) = (duration(write_seconds)?, duration(read_seconds)?);
        self.0.catalogue().open(Defaults { level, writing, reading });
        Ok(())
    }

    #[pyo3(signature = (
        tenant_id, *, factor, known_at, writes, keyed, writes_per_minute, reads_per_minute, unsynced,
        seconds
    ))]
    #[allow(clippy::too_many_arguments)] // They are the names of Python's call.
    fn keep(
        &self,
        tenant_id: String,
        factor: u32,
        known_at: u64,
        writes: bool,
        keyed: bool,
        writes_per_minute: Option<u64>,
        reads_per_minute: Option<u64>,
        unsynced: bool,
        seconds: f64,
    ) -> PyResult<()> {
        let until = Instant::now() + duration(seconds)?;
        let tenant = Tenant {
            factor,
            known_at,
            writes,
            keyed,
            writes_per_minute,
            reads_per_minute,
            unsynced,
        };
        self.0.catalogue().keep(Bytes::from(tenant_id), tenant, until);
        Ok(())
    }

    /// Whole tokens that are left, seconds until all are, and until there are enough if there were not.
    fn take(
        &self,
        tenant_id: &str,
        writes: bool,
        per_minute: u64,
        tokens: u64,
    ) -> (u64, f64, Option<f64>) {
        let mut rates = self.0.rates();
        let left = rates.take(tenant_id.as_bytes(), writes, per_minute, tokens, Instant::now());
        (left.remaining, left.reset_seconds, left.retry_seconds)
    }

    fn forget(&self, tenant_id: &str) {
        self.0.catalogue().forget(tenant_id.as_bytes());
    }

    fn forget_all(&self) {
        self.0.catalogue().forget_all();
    }

    fn used(&self, tenant_id: &str) -> bool {
        self.0.catalogue().used(tenant_id.as_bytes())
    }

    fn ring(&self, version: u64, factors_version: u64, tokens: Vec<u64>) {
        self.0.catalogue().ring(Some((version, factors_version, tokens)));
    }

    fn no_ring(&self) {
        self.0.catalogue().ring(None);
    }

    fn place(&self, version: u64, factor: u32, placements: Vec<Vec<String>>) {
        let placements = self.0.storage.enter(|hub, _| {
            let node = |ids: &Vec<String>| ids.iter().map(|id| hub.node(id)).collect();
            placements.iter().map(node).collect()
        });
        self.0.catalogue().place(version, factor, placements);
    }

    fn tallies(&self) -> Vec<(&'static str, Vec<u64>, f64)> {
        let tallies = self.0.tallies();
        let named = KINDS.iter().zip(tallies);
        named.map(|((_, name), tally)| (*name, tally.counts, tally.seconds)).collect()
    }
}

/// What has become of a call, as a tuple that begins with its kind.
pub fn so_far<'py>(
    py: Python<'py>,
    begun: Begun,
    storage: &Storage,
) -> PyResult<Bound<'py, PyTuple>> {
    match begun {
        Begun::Written { intent, ending } => {
            let ending = ended(py, &ending, storage)?;
            ("written", PyBytes::new(py, &intent), ending).into_pyobject(py)
        }
        Begun::Asked { ring_version, answers } => {
            ("asked", ring_version, answered(py, &answers, storage)).into_pyobject(py)
        }
    }
}

fn duration(seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| PyValueError::new_err(format!("got {seconds}; allowed: seconds")))
}
