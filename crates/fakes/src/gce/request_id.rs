//! Request ids: a repeat is answered with the first operation.

use std::sync::Arc;

use super::error::ApiError;
use super::model::Model;
use super::operation::{Operation, Scope};
use super::spec::{Bulk, Single};

/// What was asked for under a request id, to tell a repeat from another request.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Asked {
    /// A bulk insert.
    Bulk(Scope, Arc<Bulk>),
    /// An insert in a zone.
    Insert(Arc<str>, Arc<Single>),
    /// Another method, with the zone and the name it is about, and what its body says.
    Act(&'static str, Arc<str>, Arc<str>, String),
}

impl Model {
    /// The operation that an earlier call with this request id started, if there was one.
    pub(super) fn replayed(
        &self,
        project: usize,
        request_id: Option<&str>,
        asked: &Asked,
    ) -> Result<Option<u64>, ApiError> {
        let Some(request_id) = request_id.filter(|id| !id.is_empty()) else {
            return Ok(None);
        };
        // The short, the braced and the URN form of a UUID are none to Google.
        let is_hyphenated = request_id.len() == 36;
        let parsed = uuid::Uuid::try_parse(request_id).ok().filter(|id| !id.is_nil());
        if !is_hyphenated || parsed.is_none() {
            return Err(ApiError::field(
                "requestId",
                request_id,
                "Must be a valid UUID and not the zero UUID.",
            ));
        }
        match self.projects[project].requests.get(&key(request_id)) {
            None => Ok(None),
            Some((operation, first)) if first == asked => Ok(Some(*operation)),
            Some((operation, _)) => {
                tracing::error!(
                    request_id,
                    operation,
                    "a request id came again with another request"
                );
                if self.limits.switches.request_id_conflict {
                    return Err(ApiError::request_id_reused(request_id));
                }
                Ok(Some(*operation))
            }
        }
    }

    pub(super) fn note_request(
        &mut self,
        project: usize,
        request_id: Option<&str>,
        operation: u64,
        asked: Asked,
    ) {
        if let Some(request_id) = request_id.filter(|id| !id.is_empty()) {
            self.projects[project]
                .requests
                .insert(key(request_id), (operation, asked));
        }
    }

    /// An operation is gone, and its request id with it: the next call under that id is a new one.
    pub(super) fn forget_request(&mut self, gone: &Operation) {
        if let Some(request_id) = &gone.request_id {
            self.projects[gone.project].requests.remove(&key(request_id));
        }
    }
}

/// A request id as it is kept: UUIDs are the same in either case.
fn key(request_id: &str) -> Arc<str> {
    request_id.to_ascii_lowercase().into()
}
