//! Rules for single records, which come and go as packed arrays; see `_records.pyi`.

use std::cmp::Ordering;
use std::collections::HashSet;

use bytes::Bytes;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::{CorruptRecordError, OverclaimError};
use crate::clock::Clock;
use crate::merging::{self, Intent, Joined, Overclaim};
use crate::pack::{Malformed, Reader};
use crate::record::{self, op, Corrupt, Record};
use crate::tombstones;

type Packed<'py> = Bound<'py, PyBytes>;

pub fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("CLOCK_LIMIT", tombstones::CLOCK_LIMIT)?;
    module.add("DEAD_LIMIT", crate::memory::DEAD_LIMIT)?;
    module.add("LWW", String::from_utf8_lossy(crate::memory::LWW))?;
    module.add_function(wrap_pyfunction!(compare, module)?)?;
    module.add_function(wrap_pyfunction!(join, module)?)?;
    module.add_function(wrap_pyfunction!(increment, module)?)?;
    module.add_function(wrap_pyfunction!(value_digest, module)?)?;
    module.add_function(wrap_pyfunction!(seal, module)?)?;
    module.add_function(wrap_pyfunction!(check, module)?)?;
    module.add_function(wrap_pyfunction!(merge, module)?)?;
    module.add_function(wrap_pyfunction!(take, module)?)?;
    module.add_function(wrap_pyfunction!(knows, module)?)?;
    module.add_function(wrap_pyfunction!(clock_of, module)?)?;
    module.add_function(wrap_pyfunction!(is_dead, module)?)?;
    module.add_function(wrap_pyfunction!(purge, module)?)
}

fn malformed(Malformed(why): Malformed) -> PyErr {
    PyValueError::new_err(why)
}

fn read<T>(packed: &[u8], read: impl FnOnce(&mut Reader) -> Result<T, Malformed>) -> PyResult<T> {
    read(&mut Reader::new(Bytes::copy_from_slice(packed))).map_err(malformed)
}

fn clock<'py>(py: Python<'py>, clock: &Clock) -> Packed<'py> {
    let mut data = Vec::new();
    clock.write(&mut data);
    PyBytes::new(py, &data)
}

fn packed<'py>(py: Python<'py>, record: &Record) -> Packed<'py> {
    let mut data = Vec::new();
    record.write(&mut data);
    PyBytes::new(py, &data)
}

#[pyfunction]
fn compare(one: &[u8], other: &[u8]) -> PyResult<Option<i8>> {
    let order = read(one, Clock::read)?.compare(&read(other, Clock::read)?);
    Ok(order.map(|order| match order {
        Ordering::Less => -1,
        Ordering::Equal => 0,
        Ordering::Greater => 1,
    }))
}

#[pyfunction]
fn join<'py>(py: Python<'py>, one: &[u8], other: &[u8]) -> PyResult<Packed<'py>> {
    Ok(clock(py, &read(one, Clock::read)?.join(&read(other, Clock::read)?)))
}

#[pyfunction]
fn increment(clock: &[u8], actor: &str, floor: u64) -> PyResult<u64> {
    let actor = Bytes::copy_from_slice(actor.as_bytes());
    Ok(read(clock, Clock::read)?.next(&actor, floor).counter)
}

#[pyfunction]
#[pyo3(signature = (value))]
fn value_digest<'py>(py: Python<'py>, value: Option<&[u8]>) -> Packed<'py> {
    PyBytes::new(py, &record::value_digest(value))
}

#[pyfunction]
fn seal<'py>(py: Python<'py>, packed: &[u8], slot: &[u8]) -> Packed<'py> {
    PyBytes::new(py, &record::seal(packed, slot))
}

#[pyfunction]
fn check(data: &[u8], slot: &[u8]) -> PyResult<()> {
    let end = record::check(data, slot);
    end.map(|_| ()).map_err(|Corrupt(why)| CorruptRecordError::new_err(why))
}

#[pyfunction]
fn merge<'py>(ours: Packed<'py>, theirs: Packed<'py>) -> PyResult<Packed<'py>> {
    let one = read(ours.as_bytes(), Record::read)?;
    let other = read(theirs.as_bytes(), Record::read)?;
    Ok(match merging::merge(&one, &other) {
        Joined::Ours => ours,
        Joined::Theirs => theirs,
        Joined::Another(record) => packed(ours.py(), &record),
    })
}

#[pyfunction]
fn take<'py>(
    py: Python<'py>,
    record: &[u8],
    intent: &[u8],
    actor: &str,
    floor: u64,
) -> PyResult<(Option<Packed<'py>>, u8, Packed<'py>)> {
    let record = read(record, Record::read)?;
    let intent = read(intent, Intent::read)?;
    let actor = Bytes::copy_from_slice(actor.as_bytes());
    let taken = merging::take(&record, &intent, &actor, floor)
        .map_err(|Overclaim(why)| OverclaimError::new_err(why))?;
    let after = taken.record.map(|record| packed(py, &record));
    Ok((after, taken.outcome as u8, clock(py, &taken.clock)))
}

#[pyfunction]
fn knows(record: &[u8], intent: &[u8]) -> PyResult<u8> {
    let record = read(record, Record::read)?;
    Ok(merging::knows(&record, &read(intent, Intent::read)?) as u8)
}

#[pyfunction]
fn clock_of<'py>(py: Python<'py>, record: &[u8], name: &[u8]) -> PyResult<Packed<'py>> {
    let record = read(record, Record::read)?;
    Ok(clock(py, &merging::clock_of(&record, &op(name).map_err(malformed)?)))
}

#[pyfunction]
fn is_dead(record: &[u8], before_us: u64) -> PyResult<bool> {
    Ok(tombstones::is_dead(&read(record, Record::read)?, before_us))
}

#[pyfunction]
fn purge<'py>(
    py: Python<'py>,
    record: &[u8],
    before_us: u64,
    actors: Vec<String>,
) -> PyResult<Option<Packed<'py>>> {
    let record = read(record, Record::read)?;
    let actors: HashSet<&[u8]> = actors.iter().map(String::as_bytes).collect();
    let left = tombstones::purge(&record, before_us, |actor| actors.contains(actor));
    Ok(left.map(|record| packed(py, &record)))
}
