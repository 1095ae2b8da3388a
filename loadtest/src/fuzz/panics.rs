//! Panics, wherever they happen: on this thread, or in a task whose runtime catches them.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError},
};

static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Notes panics from now on, in place of printing them.
pub(super) fn listen() {
    std::panic::set_hook(Box::new(|panic| {
        let words = panic.payload_as_str().unwrap_or("a panic without words");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or_default();
        let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push(format!("panicked at {place} ({thread}): {words}"));
    }));
}

/// Runs it. The words of the first panic, if there was one.
pub(super) fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    let done = catch_unwind(AssertUnwindSafe(run));
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let first = seen.drain(..).next();
    match (done, first) {
        (Ok(done), None) => Ok(done),
        (_, first) => Err(first.unwrap_or_else(|| "panicked".to_owned())),
    }
}
