//! What callers write anew on instances that exist: labels and metadata.

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;
use rand::Rng;

use super::act::{Act, At};
use super::check::{check_labels, check_metadata};
use super::error::ApiError;
use super::method;
use super::model::{Call, Model};
use super::operation::{Kind, Operation};
use super::show;

impl Model {
    /// `instances.setLabels`: all labels at once, with the fingerprint of those they replace.
    pub fn set_labels(
        &mut self,
        call: &mut Call<'_>,
        at: At<'_>,
        request_id: Option<&str>,
        fingerprint: &str,
        labels: BTreeMap<String, String>,
    ) -> Result<Operation, ApiError> {
        let act = Act {
            method: &method::SET_LABELS,
            kind: Kind::SetLabels,
            at,
            request_id,
            body: format!("{fingerprint} {labels:?}"),
        };
        self.start_act(call, act, |model, id| {
            check_labels("labels", &labels)?;
            if show::fingerprint(model.known(id).label_fingerprint) != fingerprint {
                return Err(ApiError::stale_fingerprint("Labels"));
            }
            let next = model.rng.random();
            if let Some(instance) = model.instances.get_mut(&id) {
                instance.labels = Arc::new(labels);
                instance.label_fingerprint = next;
            }
            Ok(())
        })
    }

    /// `instances.setMetadata`: all metadata at once, with the fingerprint of what it replaces.
    pub fn set_metadata(
        &mut self,
        call: &mut Call<'_>,
        at: At<'_>,
        request_id: Option<&str>,
        fingerprint: &str,
        metadata: IndexMap<String, String>,
    ) -> Result<Operation, ApiError> {
        let act = Act {
            method: &method::SET_METADATA,
            kind: Kind::SetMetadata,
            at,
            request_id,
            body: format!("{fingerprint} {metadata:?}"),
        };
        self.start_act(call, act, |model, id| {
            check_metadata("metadata", metadata.iter())?;
            if show::fingerprint(model.known(id).metadata_fingerprint) != fingerprint {
                return Err(ApiError::stale_fingerprint("Metadata"));
            }
            let next = model.rng.random();
            if let Some(instance) = model.instances.get_mut(&id) {
                instance.metadata = Arc::new(metadata);
                instance.metadata_fingerprint = next;
            }
            Ok(())
        })
    }
}
