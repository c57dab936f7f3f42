//! A gRPC server whose unary calls are answered by somebody else, in batches.
//!
//! It speaks HTTP/2 and frames messages on a thread of its own. Whole calls wait in an exchange until
//! they are taken, all at once, and replies come back the same way (`exchange`), so that the one who
//! answers pays for neither connections nor a wake-up for each call. Everything that is not a plain
//! unary call of the service goes on, stream by stream, to a server behind this one (`relay`).

pub mod call;
pub mod exchange;
pub mod framing;
pub mod race;
pub mod relay;
pub mod server;
pub mod status;

#[cfg(feature = "python")]
mod python;
