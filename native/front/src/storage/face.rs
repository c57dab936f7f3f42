//! The Python face of storage nodes, `muster_front._front.Nodes`.

use std::collections::HashMap;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyAny, PyBytes, PyList, PyTuple};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::asking::{Answers, Asking};
use super::hello::Identity;
use super::hub::{Ended, Event, Hub, Listener, Target};
use super::link::{Manners, Place};
use super::quorum::{self, one, Group, Quorum, Set};
use super::spread::{Ending, Spread, Verdict, Way};
use super::{keep, tls, Storage};
use crate::plain::face::Plain as PlainFace;
use crate::plain::Plain;
use crate::race::race;
use crate::server;
use muster_records::messages::Body;

type Authorities = (PyBackedBytes, Option<(PyBackedBytes, PyBackedBytes)>);

/// Version of the ring, writers, how many are natural, groups, slot, seconds, whether unsynced.
type Going = (u64, Vec<String>, usize, Vec<(Vec<String>, u32)>, PyBackedBytes, f64, bool);

/// Connections to storage nodes with a thread of their own; see `_front.pyi`.
#[pyclass(frozen, module = "muster_front._front")]
pub struct Nodes {
    pub plain: Arc<Plain>,
    storage: Arc<Storage>,
    pub handle: Handle,
    runtime: Mutex<Option<Runtime>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    stop: Arc<Notify>,
    kept: Mutex<HashMap<usize, AbortHandle>>,
}

#[pymethods]
impl Nodes {
    #[new]
    #[pyo3(signature = (*, node_id, cluster, token, hedge_seconds, buckets, tls = None))]
    fn new(
        node_id: String,
        cluster: String,
        token: &[u8],
        hedge_seconds: f64,
        buckets: Vec<f64>,
        tls: Option<Authorities>,
    ) -> PyResult<Self> {
        let tls = match &tls {
            None => None,
            Some((authorities, own)) => {
                let own = own.as_ref().map(|(certificate, key)| (&certificate[..], &key[..]));
                Some(tls::configuration(authorities, own).map_err(PyValueError::new_err)?)
            }
        };
        let identity = Identity { node_id, cluster, token: token.to_vec() };
        let hedge = duration("hedge_seconds", hedge_seconds)?;
        let storage = Arc::new(Storage::new(Manners { identity, tls }, hedge)?);
        let runtime = server::runtime()?;
        Ok(Self {
            plain: Arc::new(Plain::new(Arc::clone(&storage), &buckets)),
            storage,
            handle: runtime.handle().clone(),
            runtime: Mutex::new(Some(runtime)),
            thread: Mutex::new(None),
            stop: Arc::default(),
            kept: Mutex::default(),
        })
    }

    #[getter]
    fn plain(&self) -> PlainFace {
        PlainFace(Arc::clone(&self.plain))
    }

    fn fileno(&self) -> RawFd {
        self.storage.descriptor()
    }

    fn start(&self) -> PyResult<()> {
        let runtime = held(&self.runtime).take();
        let runtime = runtime.ok_or_else(|| PyRuntimeError::new_err("it was started before"))?;
        let (storage, stop) = (Arc::clone(&self.storage), Arc::clone(&self.stop));
        let started = thread::Builder::new().name("front".into()).spawn(move || {
            runtime.block_on(race(stop.notified(), storage.tick()));
        })?;
        *held(&self.thread) = Some(started);
        Ok(())
    }

    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        self.stop.notify_one();
        held(&self.runtime).take();
        let Some(thread) = held(&self.thread).take() else { return Ok(()) };
        py.detach(|| thread.join()).map_err(|_| PyRuntimeError::new_err("the thread panicked"))
    }

    fn open(&self, node_id: &str, host: String, port: u16) -> usize {
        let address = format!("{host}:{port}");
        let node = self.storage.enter(|hub, _| hub.open(node_id, address));
        let keeper = self.handle.spawn(keep(&self.storage, Place { node, host, port }));
        held(&self.kept).insert(node, keeper.abort_handle());
        node
    }

    fn close(&self, node: usize) {
        if let Some(keeper) = held(&self.kept).remove(&node) {
            keeper.abort();
            self.storage.enter(|hub, _| hub.unlink(node, "closed".into()));
        }
    }

    fn judge(&self, node: usize, healthy: bool) {
        self.storage.enter(|hub, _| hub.nodes[node].healthy = healthy);
    }

    fn submit(&self, node: usize, body: &[u8], ring_version: u64, seconds: f64) -> PyResult<u64> {
        let within = duration("seconds", seconds)?;
        let body = Body::Packed(Bytes::copy_from_slice(body));
        Ok(self.storage.enter(|hub, now| {
            let number = hub.number();
            hub.submit(node, &body, ring_version, now + within, Target::Alone(number));
            number
        }))
    }

    fn ask(
        &self,
        replicas: Vec<String>,
        body: &[u8],
        ring_version: u64,
        least: usize,
        seconds: f64,
    ) -> PyResult<u64> {
        let within = duration("seconds", seconds)?;
        let body = Body::Packed(Bytes::copy_from_slice(body));
        Ok(self.storage.enter(|hub, now| {
            let asked = replicas.iter().map(|id| hub.node(id)).collect();
            let (end, to) = (now + within, Listener::Events);
            let asking = Asking::new(hub, asked, body, ring_version, least, end, to);
            hub.ask(asking, now)
        }))
    }

    fn take(
        &self,
        going: Going,
        intent: &[u8],
        blind: bool,
        base: &[u8],
        late: Vec<String>,
    ) -> PyResult<u64> {
        let late = places(&going.1, &late);
        let (intent, base) = (Bytes::copy_from_slice(intent), Bytes::copy_from_slice(base));
        self.spread(going, |spread, hub, number, now| {
            spread.take(hub, number, (intent, blind), base, late, now);
        })
    }

    fn merge(
        &self,
        going: Going,
        record: &[u8],
        outcome: u64,
        clock: &[u8],
        holders: Vec<String>,
    ) -> PyResult<u64> {
        let holders = places(&going.1, &holders);
        let record = Bytes::copy_from_slice(record);
        let told = (outcome, Bytes::copy_from_slice(clock));
        self.spread(going, |spread, hub, number, _| {
            spread.merge(hub, number, record, told, holders);
        })
    }

    fn drain<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let events = self.storage.take();
        let told = events.into_iter().map(|event| told(py, event, &self.storage));
        PyList::new(py, told.collect::<PyResult<Vec<_>>>()?)
    }
}

impl Nodes {
    fn spread(
        &self,
        going: Going,
        begin: impl FnOnce(&mut Spread, &mut Hub, u64, Instant),
    ) -> PyResult<u64> {
        let (ring_version, writers, natural, groups, slot, seconds, unsynced) = going;
        let within = duration("seconds", seconds)?;
        if writers.len() > quorum::MOST {
            let text = format!("writers: {}; allowed: {}", writers.len(), quorum::MOST);
            return Err(PyValueError::new_err(text));
        }
        let mut groups = groups
            .iter()
            .map(|(members, needed)| Group { members: places(&writers, members), needed: *needed });
        let first = groups.next().ok_or_else(|| PyValueError::new_err("groups: none"))?;
        let quorum = Quorum::new(first, groups.next());
        Ok(self.storage.enter(|hub, now| {
            let way = Way {
                ring_version,
                writers: writers.iter().map(|id| hub.node(id)).collect(),
                natural,
                quorum,
                slot: Bytes::copy_from_slice(&slot),
                end: now + within,
                unsynced,
            };
            let spread = Spread::new(way, Listener::Events);
            hub.spread(spread, |spread, hub, number| begin(spread, hub, number, now))
        }))
    }
}

fn duration(name: &str, seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| PyValueError::new_err(format!("{name}: got {seconds}; allowed: seconds")))
}

fn places(writers: &[String], names: &[String]) -> Set {
    let place = |name| writers.iter().position(|writer| writer == name);
    names.iter().filter_map(place).fold(0, |set, place| set | one(place))
}

/// An event as a tuple that begins with its kind.
fn told<'py>(py: Python<'py>, event: Event, storage: &Storage) -> PyResult<Bound<'py, PyTuple>> {
    let bytes = |data: &Bytes| PyBytes::new(py, data);
    match event {
        Event::Replied { number, packed } => ("replied", number, bytes(&packed)).into_pyobject(py),
        Event::Ended { number, ended: Ended::Asked(answers) } => {
            ("asked", number, answered(py, &answers, storage)).into_pyobject(py)
        }
        Event::Ended { number, ended: Ended::Spread(ending) } => {
            ("spread", number, ended(py, &ending, storage)?).into_pyobject(py)
        }
        Event::Missed { target, holder, slot, record } => {
            ("missed", &*target, &*holder, bytes(&slot), bytes(&record)).into_pyobject(py)
        }
        Event::Hedged { count } => ("hedged", count).into_pyobject(py),
        Event::Link { node, up, error } => ("link", node, up, error).into_pyobject(py),
    }
}

/// Names of nodes, and what they have said.
pub fn answered<'py>(
    py: Python<'py>,
    answers: &Answers,
    storage: &Storage,
) -> Vec<(String, Bound<'py, PyBytes>)> {
    let said = answers.all.iter();
    said.map(|(node, packed)| (storage.name(*node), PyBytes::new(py, packed))).collect()
}

/// The end of a write.
pub fn ended<'py>(
    py: Python<'py>,
    ending: &Ending,
    storage: &Storage,
) -> PyResult<Bound<'py, PyAny>> {
    let (verdict, late) = match ending.verdict {
        Verdict::Reached => ("reached", None),
        Verdict::Conflict => ("conflict", None),
        Verdict::Refused => ("refused", None),
        Verdict::Stale => ("stale", None),
        Verdict::Unsure(node) => ("unsure", Some(storage.name(node))),
        Verdict::Short => ("short", None),
    };
    let bytes = |data: &Bytes| PyBytes::new(py, data);
    let acked: Vec<_> = ending.acked.iter().map(|node| storage.name(*node)).collect();
    let failures: Vec<_> = ending.failures.iter().map(|one| bytes(&one.packed)).collect();
    let told = (ending.outcome, bytes(&ending.clock), ending.answered, ending.siblings);
    let whole = (verdict, late, told, bytes(&ending.record), acked, failures, ending.unsure);
    Ok(whole.into_pyobject(py)?.into_any())
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
