//! Stand-ins for Buildkite, GCE, the metadata server and etcd.
//!
//! Each fake is a **pure model** (`buildkite`, `gce`, `metadata`, `etcd`): state changes only through calls that
//! take `now` as a value and push [`event::Event`]s into an [`event::Effects`]; no clock, no runtime, all
//! randomness from one seed. A thin HTTP skin (`http`) parses the wire, calls the model under one lock and
//! appends the events to the one [`event::EventLog`] in the same critical section. The load test drives the
//! very same models in virtual time, without the skin.
//!
//! The fixed surface (ports, control calls, event kinds) is written down in `docs/fakes.md`.

pub mod buildkite;
pub mod ceiling;
pub mod config;
pub mod etcd;
pub mod event;
pub mod fault;
pub mod gce;
pub mod http;
pub mod limits;
pub mod machines;
pub mod metadata;
pub mod now;
pub mod outbox;
pub mod stamp;
pub mod standin;
pub mod wire;
pub mod world;
