//! The Python face, `muster_records._records`.

mod batches;
mod rules;

use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyValueError};
use pyo3::prelude::*;

create_exception!(
    muster_records,
    CorruptRecordError,
    PyException,
    "A record's bytes are damaged, or another key's. Names the key by hash, never its value."
);
create_exception!(
    muster_records,
    OverclaimError,
    PyValueError,
    "A writer's context names writes of this replica that it has never made."
);

#[pymodule]
fn _records(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("CorruptRecordError", py.get_type::<CorruptRecordError>())?;
    module.add("OverclaimError", py.get_type::<OverclaimError>())?;
    rules::add(module)?;
    batches::add(module)
}
