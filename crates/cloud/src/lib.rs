//! Where machines come from: the backends behind [`gust_core::ports::Cloud`].
//!
//! [`gce`] speaks to Google Compute Engine through Google's own client. [`layers`] is the small stack that
//! every call passes: concurrency, time limit, log. What to create, where and when is decided elsewhere;
//! a backend turns a recorded value into a call, and a reply into a class.

pub mod gce;
pub mod layers;
