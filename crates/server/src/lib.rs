//! A replica of gust: configuration, the leader's loop, the worker, and the gRPC skin between them.

pub mod clock;
pub mod config;
pub mod latch;
pub mod leader;
pub mod planner;
pub mod replica;
pub mod rpc;
mod serve;
pub mod task;
#[cfg(test)]
mod testing;
pub mod worker;

pub use serve::{ADDRESSES, ServeError, ServeOptions, revoke_leases, serve};

/// An error and its causes in one line, outermost first.
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some libraries repeat their cause in their own message.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
