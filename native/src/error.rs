//! The one error type of the crate. No message ever contains a witness value.

use thiserror::Error;

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// An argument is not what the function asks for.
    #[error("{0}")]
    Input(String),
    /// The inputs are well formed, but the statement they make is false.
    #[error("the inputs do not satisfy the circuit {circuit} (constraint {row})")]
    Unsatisfied { circuit: String, row: usize },
    /// Bytes that are not a key, not a whole key, or not the key that was asked for.
    #[error("{0}")]
    Key(String),
    /// Bytes that are not one canonical proof.
    #[error("malformed proof: {0}")]
    Proof(String),
    /// A file that cannot be read or written.
    #[error("{0}")]
    File(String),
    /// A bug or a machine that computes wrongly; never the caller's fault.
    #[error("internal error: {0}")]
    Internal(String),
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn input(message: impl Into<String>) -> Self {
        Error::Input(message.into())
    }

    pub fn key(message: impl Into<String>) -> Self {
        Error::Key(message.into())
    }
}
