//! The fake Google Compute Engine: a pure model with a typed surface, and the wire around it.
//!
//! The typed calls are methods of [`Model`], each taking a [`Call`] (the present, the faults, where events go):
//! `bulk_insert`, `insert`, `delete`, `stop`, `start`, `reset`, `set_labels`, `set_metadata`, `get_instance`,
//! `list_instances`, `aggregated_list`, `get_operation`, `wait_operation`, `list_operations`, `region`,
//! `regions`, `zones`, `machine_types`, `project`. Time passes in [`Model::tick`]; [`Model::next_due`] says when
//! to call it. What is to run on the machines comes out of [`Model::take_orders`].
//!
//! Where things are: `check` judges a template, `plan` places machines, `create` accepts requests; `flow` is the
//! life of operations, `life` that of instances, `act`, `set` and `control` are what is done to them; `quota`, `rate`
//! and `addresses` count; `list`, `filter`, `read` and `places` answer; `show` renders, [`wire`] speaks HTTP.

mod act;
mod addresses;
pub mod catalog;
mod check;
mod control;
mod create;
mod due;
mod error;
mod events;
pub mod filter;
mod flow;
mod images;
mod instance;
mod life;
mod list;
mod list_operations;
mod maintenance;
mod method;
mod model;
mod operation;
mod orders;
mod places;
mod plan;
mod quota;
mod rate;
mod read;
mod request_id;
mod rollback;
mod set;
mod show;
pub mod spec;
mod state;
mod switches;
#[cfg(test)]
mod tests;
pub mod wire;
mod wish;

pub use act::At;
pub use control::{Impossible, Mishap};
pub use error::{ApiError, Detail, ErrorInfo, OpError};
pub use images::Image;
pub use instance::{Guest, Instance, Shape, Status};
pub use list::{Page, Query};
pub use model::{Call, DEFAULT_PROJECT, Model, Place};
pub use operation::{BulkState, Kind, Operation, Progress, Scope, Target, ZoneCount};
pub use orders::Order;
pub use places::{Quota, Region, Subnet};
pub use quota::{Metric, Need, Release, Shortage, limit_of};
pub(crate) use read::has_guest_attributes;
pub use read::{GuestAttribute, GuestQuery};
pub use switches::{NameSpace, QuotaRefusal, Switches};
