//! How many threads a call uses, and the one place where a panic ends.

use std::collections::HashMap;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, Result};

/// Idle pools by number of threads. Each call takes one for itself, so that calls side by side
/// never wait for each other's threads.
struct Idle {
    process: u32,
    pools: Option<HashMap<usize, Vec<ThreadPool>>>,
}

static IDLE: Mutex<Idle> = Mutex::new(Idle { process: 0, pools: None });

const MAX_THREADS: usize = 1024;

/// Runs `work` on `threads` threads; 0 means as many as the machine (or its cgroup) has.
///
/// A panic comes back as [`Error::Internal`].
pub fn run<T: Send>(threads: usize, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let threads = match threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        1..=MAX_THREADS => threads,
        _ => {
            let message = format!("threads must be 0 (all) to {MAX_THREADS}, not {threads}");
            return Err(Error::input(message));
        }
    };
    let pool = take(threads)?;
    let result = catch_unwind(AssertUnwindSafe(|| pool.install(work)));
    give_back(threads, pool);
    result.unwrap_or_else(|panic| Err(Error::Internal(panic_message(panic.as_ref()))))
}

fn with_idle<T>(act: impl FnOnce(&mut HashMap<usize, Vec<ThreadPool>>) -> T) -> T {
    let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
    let process = std::process::id();
    if idle.process != process {
        // After a fork the threads of the parent's pools do not exist here: never wait for them.
        std::mem::forget(idle.pools.take());
        idle.process = process;
    }
    act(idle.pools.get_or_insert_with(HashMap::new))
}

fn take(threads: usize) -> Result<ThreadPool> {
    if let Some(pool) = with_idle(|pools| pools.get_mut(&threads).and_then(Vec::pop)) {
        return Ok(pool);
    }
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("muster-native-{index}"))
        .build()
        .map_err(|error| Error::Internal(format!("cannot start {threads} threads: {error}")))
}

fn give_back(threads: usize, pool: ThreadPool) {
    with_idle(|pools| pools.entry(threads).or_default().push(pool));
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_runs_on_the_threads_asked_for() {
        for threads in [1, 2, 3] {
            assert_eq!(run(threads, || Ok(rayon::current_num_threads())), Ok(threads));
        }
        assert!(run(0, || Ok(rayon::current_num_threads())).unwrap() >= 1);
    }

    #[test]
    fn a_panic_is_an_error_and_the_pool_lives_on() {
        let result: Result<()> = run(1, || panic!("broken"));
        assert_eq!(result, Err(Error::Internal("broken".into())));
        assert_eq!(run(1, || Ok(7)), Ok(7));
    }

    #[test]
    fn an_absurd_number_of_threads_is_refused() {
        assert!(matches!(run(100_000, || Ok(())), Err(Error::Input(_))));
    }
}
