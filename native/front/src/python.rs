//! The Python face, `muster_front._front`.

use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};
use tokio::runtime::Handle;
use tokio::sync::{watch, Semaphore};
use tokio_rustls::rustls::ServerConfig;

use crate::call::Service;
use crate::exchange::{Arrival, Exchange, Reply};
use crate::framing::framed;
use crate::plain::face::{so_far, Plain as PlainFace};
use crate::plain::{Kind, Plain, KINDS};
use crate::relay::Relay;
use crate::server::{self, Server, Stop};
use crate::status::{code, Status};
use crate::storage::face::Nodes;
use crate::streams::{Opened, Streams};
use crate::tls::{self, Door};

/// What a server shows its clients, and asks of them; see `_front.pyi`.
#[pyclass(frozen, module = "muster_front._front")]
struct Tls(Arc<ServerConfig>);

#[pymethods]
impl Tls {
    #[new]
    #[pyo3(signature = (certificate, key, authorities = None))]
    fn new(certificate: &[u8], key: &[u8], authorities: Option<&[u8]>) -> PyResult<Self> {
        let made = tls::configuration(certificate, key, authorities);
        made.map(Self).map_err(PyValueError::new_err)
    }
}

/// A server with a thread of its own; see `_front.pyi`.
#[pyclass(frozen, module = "muster_front._front")]
struct Front {
    service: Arc<Service>,
    door: Option<Arc<Door>>,
    port: u16,
    bound: Mutex<Option<Server>>,
    /// Where it runs beside the connections to storage nodes.
    beside: Option<Handle>,
    thread: Mutex<Option<Running>>,
    stop: watch::Sender<Stop>,
}

/// A server that was started.
enum Running {
    Alone(JoinHandle<()>),
    Beside(Handle, tokio::task::JoinHandle<()>),
}

#[pymethods]
impl Front {
    #[new]
    #[pyo3(signature = (
        host, port, *, methods, streamed, behind, most, largest, authorization, names,
        tls = None, nodes = None
    ))]
    #[allow(clippy::too_many_arguments)] // They are the names of Python's call.
    fn new(
        host: &str,
        port: u16,
        methods: Vec<String>,
        streamed: String,
        behind: &str,
        most: usize,
        largest: usize,
        authorization: bool,
        names: bool,
        tls: Option<&Bound<'_, Tls>>,
        nodes: Option<&Bound<'_, Nodes>>,
    ) -> PyResult<Self> {
        let kind = |path: &String| {
            let named = |(_, name): &&(Kind, &str)| path.rsplit('/').next() == Some(*name);
            KINDS.iter().find(named).map(|(kind, _)| *kind)
        };
        let door = tls.map(|tls| Arc::new(Door::new(Arc::clone(&tls.get().0))));
        let server =
            Server::bind(resolved(host, port)?, door.clone()).map_err(PyOSError::new_err)?;
        let service = Service {
            exchange: Arc::new(Exchange::new()?),
            plain: nodes.map(|nodes| Arc::clone(&nodes.get().plain)),
            kinds: methods.iter().map(kind).collect(),
            methods: methods.into_iter().enumerate().map(|(n, path)| (path, n)).collect(),
            streams: Arc::new(Streams::new()?),
            streamed,
            relay: Relay::new(behind)?,
            seats: Semaphore::new(most.min(Semaphore::MAX_PERMITS)),
            largest,
            authorization,
            names,
        };
        Ok(Self {
            service: Arc::new(service),
            door,
            port: server.port()?,
            bound: Mutex::new(Some(server)),
            beside: nodes.map(|nodes| nodes.get().handle.clone()),
            thread: Mutex::new(None),
            stop: watch::Sender::new(None),
        })
    }

    #[getter]
    fn port(&self) -> u16 {
        self.port
    }

    #[getter]
    fn streams(&self) -> StreamsFace {
        StreamsFace(Arc::clone(&self.service.streams))
    }

    fn fileno(&self) -> RawFd {
        self.service.exchange.descriptor()
    }

    fn start(&self) -> PyResult<()> {
        let bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner).take();
        let server = bound.ok_or_else(|| PyRuntimeError::new_err("it was started before"))?;
        let (service, stop) = (Arc::clone(&self.service), self.stop.subscribe());
        let end = End(Arc::clone(&service.exchange));
        let served = async move {
            // Also where it ends by a panic.
            let _end = end;
            let _ended = server.run(service, stop).await;
        };
        let running = match &self.beside {
            Some(handle) => Running::Beside(handle.clone(), handle.spawn(served)),
            None => {
                let runtime = server::runtime()?;
                let thread = thread::Builder::new().name("front".into());
                Running::Alone(thread.spawn(move || runtime.block_on(served))?)
            }
        };
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
        Ok(())
    }

    fn drain<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let news = self.service.exchange.take();
        let (now, plain) = (Instant::now(), self.service.plain.as_ref());
        let arrived = news.arrived.into_iter().map(|arrival| handed_over(py, arrival, now, plain));
        let arrived = PyList::new(py, arrived.collect::<PyResult<Vec<_>>>()?)?;
        (arrived, news.given_up, news.ended).into_pyobject(py)
    }

    fn reply(&self, replies: Vec<(u64, Bound<'_, PyBytes>)>) {
        let framed = |(number, message): (u64, Bound<'_, PyBytes>)| {
            let none = || Status::new(code::RESOURCE_EXHAUSTED, "the answer is above 4 GiB");
            (number, framed(message.as_bytes()).ok_or_else(none))
        };
        let framed: Vec<(u64, Reply)> = replies.into_iter().map(framed).collect();
        self.service.exchange.reply(framed);
    }

    fn fail(&self, number: u64, code: u8, message: String) {
        self.service.exchange.reply([(number, Err(Status::new(code, message)))]);
    }

    fn renew(&self, tls: &Bound<'_, Tls>) -> PyResult<()> {
        let door = self.door.as_ref();
        let door = door.ok_or_else(|| PyRuntimeError::new_err("it was made without TLS"))?;
        door.renew(Arc::clone(&tls.get().0));
        Ok(())
    }

    fn stop(&self, grace: f64) -> PyResult<()> {
        let grace = Duration::try_from_secs_f64(grace)
            .map_err(|_| PyValueError::new_err(format!("grace: got {grace}; allowed: seconds")))?;
        self.stop.send_replace(Some(grace));
        Ok(())
    }

    fn join(&self, py: Python<'_>) -> PyResult<()> {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let ended = match thread {
            None => true,
            Some(Running::Alone(thread)) => py.detach(|| thread.join()).is_ok(),
            Some(Running::Beside(handle, task)) => py.detach(|| handle.block_on(task)).is_ok(),
        };
        ended.then_some(()).ok_or_else(|| PyRuntimeError::new_err("the front panicked"))
    }
}

/// The calls with many messages; see `_front.pyi`.
#[pyclass(frozen, module = "muster_front._front", name = "Streams")]
struct StreamsFace(Arc<Streams>);

#[pymethods]
impl StreamsFace {
    fn fileno(&self) -> RawFd {
        self.0.descriptor()
    }

    fn drain<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let news = self.0.take();
        let text = |text: &str| PyString::new(py, text);
        let begun = |call: Opened| {
            let shown = call.authorization.as_deref().map(text);
            (call.number, shown, call.name.as_deref().map(text))
        };
        let opened: Vec<_> = news.opened.into_iter().map(begun).collect();
        let bytes = |(number, message): (u64, Bytes)| (number, PyBytes::new(py, &message));
        let messages: Vec<_> = news.messages.into_iter().map(bytes).collect();
        (opened, messages, news.ended, news.sent, news.over).into_pyobject(py)
    }

    fn begun(&self, number: u64, bytes: usize) {
        self.0.begun(number, bytes);
    }

    /// How many bytes count until they have left; none for a message that is too large to be one.
    fn send(&self, number: u64, message: &[u8]) -> usize {
        match framed(message) {
            Some(frame) => {
                let length = frame.len();
                self.0.send(number, frame);
                length
            }
            None => 0,
        }
    }

    fn end(&self, number: u64) {
        self.0.end(number, Ok(()));
    }

    fn fail(&self, number: u64, code: u8, message: String) {
        self.0.end(number, Err(Status::new(code, message)));
    }
}

/// Says that the server has ended, when it is dropped.
struct End(Arc<Exchange>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.end();
    }
}

fn resolved(host: &str, port: u16) -> PyResult<SocketAddr> {
    let mut found = (host, port).to_socket_addrs()?;
    found.next().ok_or_else(|| PyOSError::new_err(format!("host {host:?} has no address")))
}

type Text<'py> = Option<Bound<'py, PyString>>;
type HandedOver<'py> = (
    u64,
    usize,
    Bound<'py, PyBytes>,
    Option<f64>,
    Text<'py>,
    Text<'py>,
    Option<Bound<'py, PyTuple>>,
);

fn handed_over<'py>(
    py: Python<'py>,
    arrival: Arrival,
    now: Instant,
    nodes: Option<&Arc<Plain>>,
) -> PyResult<Bound<'py, PyTuple>> {
    let left = |end: Instant| end.saturating_duration_since(now).as_secs_f64();
    let whole: HandedOver<'py> = (
        arrival.number,
        arrival.method,
        PyBytes::new(py, &arrival.message),
        arrival.deadline.map(left),
        arrival.authorization.as_deref().map(|text| PyString::new(py, text)),
        arrival.name.as_deref().map(|text| PyString::new(py, text)),
        match (arrival.begun, nodes) {
            (Some(begun), Some(plain)) => Some(so_far(py, begun, &plain.storage)?),
            _ => None,
        },
    );
    whole.into_pyobject(py)
}

#[pymodule]
fn _front(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<StreamsFace>()?;
    module.add_class::<Tls>()?;
    module.add_class::<Nodes>()?;
    module.add_class::<PlainFace>()?;
    module.add_class::<Front>()
}
