//! What a storage node does with whole batches; see `_records.pyi`.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::CorruptRecordError;
use crate::pack::Malformed;
use crate::recent;
use crate::record::Corrupt;
use crate::replica::{self, token_of, Unloaded, Whom};
use crate::requests::{self, Traits};

type Packed<'py> = Bound<'py, PyBytes>;
/// Number, deadline, version of the ring, packed body.
type Other<'py> = (u64, i64, u64, Packed<'py>);

pub fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Frame>()?;
    module.add_class::<Rules>()?;
    module.add_class::<Batch>()?;
    module.add_class::<Recent>()?;
    module.add_class::<Replica>()
}

fn copied(data: &Packed<'_>) -> Bytes {
    Bytes::copy_from_slice(data.as_bytes())
}

#[pyclass(module = "muster_records._records")]
struct Frame(requests::Frame);

#[pymethods]
impl Frame {
    #[new]
    fn new(body: &[u8]) -> PyResult<Self> {
        let read = requests::Frame::read(Bytes::copy_from_slice(body));
        read.map(Self).map_err(|Malformed(why)| PyValueError::new_err(why))
    }

    #[getter]
    fn sent_us(&self) -> i64 {
        self.0.sent_us
    }

    /// How many writes and reads it has.
    #[getter]
    fn plain(&self) -> (usize, usize) {
        (self.0.writes.len(), self.0.reads.len())
    }

    fn others<'py>(&self, py: Python<'py>) -> Vec<Other<'py>> {
        let others = self.0.others.iter();
        others
            .map(|one| {
                let body = PyBytes::new(py, &one.body);
                (one.number, one.deadline_us, one.ring_version, body)
            })
            .collect()
    }

    #[pyo3(signature = (connection, offset_us, batch, room = requests::ALL))]
    fn put_writes(
        &mut self,
        connection: u64,
        offset_us: i64,
        batch: &mut Batch,
        room: (usize, usize),
    ) -> usize {
        batch.0.add(connection, offset_us, &mut self.0.writes, room);
        self.0.writes.len()
    }

    #[pyo3(signature = (connection, offset_us, batch, room = requests::ALL))]
    fn put_reads(
        &mut self,
        connection: u64,
        offset_us: i64,
        batch: &mut Batch,
        room: (usize, usize),
    ) -> usize {
        batch.0.add(connection, offset_us, &mut self.0.reads, room);
        self.0.reads.len()
    }
}

#[pyclass(frozen, module = "muster_records._records")]
struct Rules(requests::Rules);

#[pymethods]
impl Rules {
    #[new]
    #[pyo3(signature = (
        *, not_ready = None, ring_version = 0, unfilled = None, full = None, large = None
    ))]
    fn new(
        not_ready: Option<String>,
        ring_version: u64,
        unfilled: Option<String>,
        full: Option<String>,
        large: Option<(usize, String)>,
    ) -> Self {
        Self(requests::Rules { not_ready, ring_version, unfilled, full, large })
    }

    #[pyo3(signature = (ring_version, *, always = false, of_whole = false, write = None))]
    fn refusal<'py>(
        &self,
        py: Python<'py>,
        ring_version: u64,
        always: bool,
        of_whole: bool,
        write: Option<(usize, bool)>,
    ) -> Option<Packed<'py>> {
        let refusal = self.0.refusal(Traits { ring_version, always, of_whole, write })?;
        Some(PyBytes::new(py, &refusal.packed))
    }
}

#[pyclass(module = "muster_records._records")]
#[derive(Default)]
struct Batch(requests::Batch);

#[pymethods]
impl Batch {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    #[getter]
    fn weight(&self) -> usize {
        self.0.weight()
    }

    /// How many are not answered yet.
    #[getter]
    fn open(&self) -> usize {
        self.0.slots().count()
    }

    #[getter]
    fn synced(&self) -> bool {
        self.0.synced()
    }

    fn connections(&self) -> HashSet<u64> {
        self.0.connections().collect()
    }

    #[getter]
    fn kinds(&self) -> (u64, u64, u64, u64) {
        self.0.kinds()
    }

    #[getter]
    fn failures(&self) -> Vec<(i64, u64)> {
        self.0.failures().iter().map(|(code, count)| (*code, *count)).collect()
    }

    fn first(&mut self, most: usize) -> Self {
        Self(self.0.first(most))
    }

    fn leave(&mut self, over: Vec<u64>) {
        self.0.leave(&over);
    }

    fn judge(&mut self, rules: &Rules, now_us: i64) {
        self.0.judge(&rules.0, now_us);
    }

    fn slots<'py>(&self, py: Python<'py>) -> Vec<Packed<'py>> {
        let mut seen = HashSet::new();
        let fresh = self.0.slots().filter(|slot| seen.insert(*slot));
        fresh.map(|slot| PyBytes::new(py, slot)).collect()
    }

    fn apply(&mut self, py: Python<'_>, replica: &mut Replica, now_us: i64) {
        let (batch, replica) = (&mut self.0, &mut replica.0);
        py.detach(|| batch.apply(replica, now_us));
    }

    fn find(
        &mut self,
        py: Python<'_>,
        slots: Vec<Packed<'_>>,
        values: Vec<Option<Packed<'_>>>,
    ) -> u64 {
        let values = values.iter().map(|data| data.as_ref().map(copied));
        let held: HashMap<Bytes, Option<Bytes>> = slots.iter().map(copied).zip(values).collect();
        let batch = &mut self.0;
        py.detach(|| batch.find(&held))
    }

    fn fail(&mut self, code: i64, why: &str) {
        self.0.fail(code, why);
    }

    fn frames<'py>(&mut self, py: Python<'py>) -> Vec<(u64, Packed<'py>)> {
        let batch = &mut self.0;
        let frames = py.detach(|| batch.frames());
        frames.into_iter().map(|(to, data)| (to, PyBytes::new(py, &data))).collect()
    }
}

#[pyclass(module = "muster_records._records")]
struct Recent(recent::Recent);

#[pymethods]
impl Recent {
    #[new]
    fn new(most: usize) -> Self {
        Self(recent::Recent::new(most))
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

#[pyclass(module = "muster_records._records")]
struct Replica(replica::Replica);

fn unloaded(Unloaded: Unloaded) -> PyErr {
    PyKeyError::new_err("a record that was not loaded")
}

#[pymethods]
impl Replica {
    #[new]
    fn new(actor: &str, spare: &str, floor: u64, horizon: Vec<(u64, u64)>) -> Self {
        let name = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        let whom = Whom { actor: name(actor), spare: name(spare), floor, horizon };
        Self(replica::Replica::new(whom))
    }

    fn recall<'py>(&mut self, py: Python<'py>, batch: &Batch, recent: &Recent) -> Vec<Packed<'py>> {
        let mut missing = HashSet::new();
        for slot in batch.0.slots() {
            if self.0.has(slot) {
                continue;
            }
            match recent.0.get(slot) {
                Some(data) => self.0.load(slot.clone(), Some(data.clone())),
                None => _ = missing.insert(slot),
            }
        }
        missing.into_iter().map(|slot| PyBytes::new(py, slot)).collect()
    }

    fn missing<'py>(&self, slots: Vec<Packed<'py>>) -> Vec<Packed<'py>> {
        slots.into_iter().filter(|slot| !self.0.has(slot.as_bytes())).collect()
    }

    fn load(&mut self, slot: &[u8], data: Option<&[u8]>) {
        self.0.load(Bytes::copy_from_slice(slot), data.map(Bytes::copy_from_slice));
    }

    fn data<'py>(&self, py: Python<'py>, slot: &[u8]) -> PyResult<Option<Packed<'py>>> {
        let data = self.0.data(slot).map_err(unloaded)?;
        Ok(data.map(|data| PyBytes::new(py, data)))
    }

    fn join(&mut self, slot: &[u8], data: &[u8]) -> PyResult<bool> {
        self.0.data(slot).map_err(unloaded)?;
        let (slot, data) = (Bytes::copy_from_slice(slot), Bytes::copy_from_slice(data));
        self.0.join(&slot, &data).map_err(|Corrupt(why)| CorruptRecordError::new_err(why))
    }

    fn replace(&mut self, slot: &[u8], data: &[u8]) -> PyResult<()> {
        self.0.data(slot).map_err(unloaded)?;
        self.0.replace(&Bytes::copy_from_slice(slot), Bytes::copy_from_slice(data));
        Ok(())
    }

    fn forget(&mut self, slot: &[u8]) -> PyResult<()> {
        self.0.data(slot).map_err(unloaded)?;
        self.0.forget(&Bytes::copy_from_slice(slot));
        Ok(())
    }

    fn forget_before(&mut self, horizon: Vec<(u64, u64)>) {
        self.0.forget_before(horizon);
    }

    fn renew(&mut self) {
        self.0.renew();
    }

    #[getter]
    fn renewed(&self) -> bool {
        self.0.renewed()
    }

    #[getter]
    fn floor(&self) -> u64 {
        self.0.floor()
    }

    #[getter]
    fn corrupted(&self) -> u64 {
        self.0.corrupted()
    }

    fn changes<'py>(&self, py: Python<'py>) -> Vec<(Packed<'py>, Option<Packed<'py>>)> {
        let bytes = |data: &Bytes| PyBytes::new(py, data);
        self.0.changes().map(|(slot, data)| (bytes(slot), data.map(bytes))).collect()
    }

    fn tokens(&self) -> Vec<u64> {
        self.0.changes().map(|(slot, _)| token_of(slot)).collect()
    }

    fn totals(&self) -> (i64, i64) {
        self.0.totals()
    }

    /// After the changes are durable: keeps them, apart from the frames that they came in.
    fn remember(&self, recent: &mut Recent) {
        for (slot, data) in self.0.changes() {
            match data {
                Some(data) => recent.0.put(slot, Bytes::copy_from_slice(data)),
                None => recent.0.remove(slot),
            }
        }
    }
}
