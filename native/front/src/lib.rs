//! The hot part of a coordinator of the store.
//!
//! A gRPC server whose calls are answered by somebody else, in batches. It speaks TLS and HTTP/2, and
//! frames messages, on a thread of its own. Whole unary calls wait in an exchange until they are
//! taken, all at once, and replies come back the same way (`exchange`), so that the one who answers
//! pays for neither connections nor a wake-up for each call. The messages of calls that have many of
//! them do likewise (`streams`). Calls that are not of the service go on, stream by stream, to a
//! server behind this one (`relay`).
//!
//! On the same thread storage nodes are spoken to and quorums counted (`storage`), and nearly all calls
//! for single keys answered (`plain`).

pub mod bell;
pub mod call;
pub mod compression;
pub mod exchange;
pub mod framing;
pub mod plain;
pub mod race;
pub mod relay;
pub mod server;
pub mod status;
pub mod storage;
pub mod streams;
pub mod tls;

#[cfg(feature = "python")]
mod python;
