//! A plan: what could run a job, best choice first.

use std::sync::Arc;

use crate::{
    ids::Shard,
    quota::Usage,
    reason::Placement,
    shape::{Price, Shape},
};

/// One machine that would satisfy a request, in one shard, ready to be asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The whole shape.
    pub shape: Arc<Shape>,
    /// Its shard.
    pub shard: Shard,
    /// Price per hour.
    pub price: Price,
    /// Quota one machine uses.
    pub usage: Usage,
    /// What a developer is told about it.
    pub placement: Arc<Placement>,
}

/// All choices of a request, in the order in which they are tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The canonical request together with everything else that tells shapes apart (image, account):
    /// jobs with the same key may swap machines.
    pub key: Arc<str>,
    /// Choices, best first; never empty.
    pub choices: Vec<Choice>,
}
