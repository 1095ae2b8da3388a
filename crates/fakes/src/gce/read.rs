//! Reading one thing: an instance, an operation, the console, guest attributes.

use super::act::At;
use super::error::ApiError;
use super::instance::Instance;
use super::method::{self, Method};
use super::model::{Call, Model, Place};
use super::operation::{Operation, Progress};

/// What `getGuestAttributes` was asked for.
#[derive(Clone, Copy, Debug)]
pub enum GuestQuery<'a> {
    /// All keys of a namespace, `ns/`, or one, `ns/key`.
    Path(&'a str),
    /// One key, `ns/key`.
    Variable(&'a str),
}

/// Namespace, key and value of a guest attribute.
pub type GuestAttribute = (String, String, String);

impl Model {
    /// `instances.get`.
    pub fn get_instance(&mut self, call: &mut Call<'_>, at: At<'_>) -> Result<Instance, ApiError> {
        self.api(
            call,
            &method::GET,
            at.project,
            Place::Zone(at.zone),
            |model, call, project| {
                call.count = 1;
                let id = model.find(project, at)?;
                model
                    .instances
                    .get(&id)
                    .cloned()
                    .ok_or_else(|| ApiError::not_found(at.name))
            },
        )
    }

    /// `getSerialPortOutput`: the text from `start` on (negative: so many bytes from the end), where it really
    /// starts, and where the next read goes on. Only port 1 is written.
    pub fn serial_output(
        &mut self,
        call: &mut Call<'_>,
        at: At<'_>,
        port: u32,
        start: i64,
    ) -> Result<(String, u64, u64), ApiError> {
        self.api(
            call,
            &method::SERIAL_PORT,
            at.project,
            Place::Zone(at.zone),
            |model, _, project| {
                if !(1..=4).contains(&port) {
                    return Err(ApiError::field(
                        "port",
                        &port.to_string(),
                        "Must be between [1, 4].",
                    ));
                }
                let id = model.find(project, at)?;
                let text = model
                    .consoles
                    .get(&id)
                    .filter(|_| port == 1)
                    .map_or("", String::as_str);
                let from = match usize::try_from(start) {
                    Ok(from) => from.min(text.len()),
                    Err(_) => text
                        .len()
                        .saturating_sub(usize::try_from(start.unsigned_abs()).unwrap_or(usize::MAX)),
                };
                let from = (0..=from)
                    .rev()
                    .find(|at| text.is_char_boundary(*at))
                    .unwrap_or_default();
                Ok((text[from..].to_owned(), from as u64, text.len() as u64))
            },
        )
    }

    /// `getGuestAttributes`: only where the metadata turns them on.
    pub fn guest_attributes(
        &mut self,
        call: &mut Call<'_>,
        at: At<'_>,
        query: GuestQuery<'_>,
    ) -> Result<Vec<GuestAttribute>, ApiError> {
        self.api(
            call,
            &method::GUEST_ATTRIBUTES,
            at.project,
            Place::Zone(at.zone),
            |model, _, project| {
                let id = model.find(project, at)?;
                let Some(instance) = model
                    .instances
                    .get(&id)
                    .filter(|instance| has_guest_attributes(instance))
                else {
                    return Err(ApiError::invalid("Guest attributes endpoint access is disabled."));
                };
                let (GuestQuery::Path(path) | GuestQuery::Variable(path)) = query;
                let (space, key) = path.split_once('/').unwrap_or((path, ""));
                let mine = instance
                    .guest_attributes
                    .iter()
                    .filter(|((of, name), _)| of == space && (key.is_empty() || name == key));
                let found: Vec<_> = mine
                    .map(|((of, name), value)| (of.clone(), name.clone(), value.clone()))
                    .collect();
                match found.is_empty() {
                    true => Err(ApiError::not_found(&format!("guestAttributes/{path}"))),
                    false => Ok(found),
                }
            },
        )
    }

    /// `zoneOperations.get`, `regionOperations.get`, `globalOperations.get`.
    pub fn get_operation(
        &mut self,
        call: &mut Call<'_>,
        project: &str,
        place: Place<'_>,
        name: &str,
    ) -> Result<Operation, ApiError> {
        let method = match place {
            Place::Zone(_) => &method::ZONE_OPERATION_GET,
            Place::Region(_) => &method::REGION_OPERATION_GET,
            Place::Global => &method::GLOBAL_OPERATION_GET,
        };
        self.read_operation(call, method, project, place, name)
    }

    /// `….wait`: the operation as it is. Whoever serves the call holds it back until
    /// [`Model::operation_if_done`] has it, or two minutes are over.
    pub fn wait_operation(
        &mut self,
        call: &mut Call<'_>,
        project: &str,
        place: Place<'_>,
        name: &str,
    ) -> Result<Operation, ApiError> {
        let method = match place {
            Place::Zone(_) => &method::ZONE_OPERATION_WAIT,
            Place::Region(_) => &method::REGION_OPERATION_WAIT,
            Place::Global => &method::GLOBAL_OPERATION_WAIT,
        };
        self.read_operation(call, method, project, place, name)
    }

    /// An operation as it is, for the holder of a `wait` that goes on: no call, so nothing is counted.
    pub fn operation_named(&self, name: &str) -> Option<&Operation> {
        let id = name.rsplit('-').next()?;
        let operation = self.operations.get(u64::from_str_radix(id, 16).ok()?)?;
        (*operation.name == *name).then_some(operation)
    }

    fn read_operation(
        &mut self,
        call: &mut Call<'_>,
        method: &'static Method,
        project: &str,
        place: Place<'_>,
        name: &str,
    ) -> Result<Operation, ApiError> {
        self.api(call, method, project, place, |model, call, project| {
            call.count = 1;
            model.find_operation(project, place, name).cloned()
        })
    }

    /// `….delete`: only what is DONE can be forgotten early.
    pub fn delete_operation(
        &mut self,
        call: &mut Call<'_>,
        project: &str,
        place: Place<'_>,
        name: &str,
    ) -> Result<(), ApiError> {
        let method = match place {
            Place::Zone(_) => &method::ZONE_OPERATION_DELETE,
            Place::Region(_) => &method::REGION_OPERATION_DELETE,
            Place::Global => &method::GLOBAL_OPERATION_DELETE,
        };
        self.api(call, method, project, place, |model, call, project| {
            call.count = 1;
            let operation = model.find_operation(project, place, name)?;
            let id = operation.id;
            if operation.progress != Progress::Done {
                return Err(ApiError::not_ready(&format!("operations/{name}")));
            }
            if let Some(gone) = model.operations.remove(id) {
                model.forget_request(&gone);
            }
            Ok(())
        })
    }

    fn find_operation(&self, project: usize, place: Place<'_>, name: &str) -> Result<&Operation, ApiError> {
        let scope = place.scope();
        self.operations.find(project, &scope, name).ok_or_else(|| {
            let project = &self.projects[project].id;
            ApiError::not_found(&format!("projects/{project}/{}/operations/{name}", scope.path()))
        })
    }

    /// An operation by its internal number, with the id and number of its project: `None` while it is not
    /// DONE; a missing one counts as done.
    pub fn operation_if_done(&self, id: u64) -> Option<Option<&Operation>> {
        match self.operations.get(id) {
            Some(operation) if operation.progress != Progress::Done => None,
            other => Some(other),
        }
    }
}

/// Whether the metadata turns guest attributes on.
pub(crate) fn has_guest_attributes(instance: &Instance) -> bool {
    instance
        .metadata
        .get("enable-guest-attributes")
        .is_some_and(|value| value.eq_ignore_ascii_case("true"))
}
