//! The whole state, for `GET /state`.

use serde_json::{Value, json};

use super::model::Model;
use super::operation::Progress;
use super::quota::limit_of;
use super::show;

impl Model {
    /// Everything, by project. Operations that are DONE are only counted.
    pub fn to_json(&self) -> Value {
        let projects = self.projects.iter().enumerate().map(|(index, project)| {
            let instances: Vec<Value> = self
                .instances
                .values()
                .filter(|instance| instance.project == index)
                .map(|instance| {
                    let mut value = show::instance(&project.id, self.region_index(&instance.zone), instance);
                    value["guest"] = json!(instance.guest.name());
                    value
                })
                .collect();
            let mine = || self.operations.iter().filter(|operation| operation.project == index);
            let open = mine().filter(|operation| operation.progress != Progress::Done);
            let quotas: Vec<Value> = project
                .ledger
                .all()
                .map(|(region, metric, usage)| {
                    let limit = limit_of(&self.limits, region, metric);
                    json!({ "region": region, "metric": metric, "usage": usage, "limit": limit })
                })
                .collect();
            let disks: Vec<Value> = project
                .loose_disks
                .iter()
                .map(|disk| json!({ "name": disk.name, "zone": &*disk.zone, "gib": disk.gib }))
                .collect();
            let value = json!({
                "number": project.number,
                "instances": instances,
                "operations": open.map(|open| show::operation(&project.id, project.number, open)).collect::<Vec<_>>(),
                "operations_known": mine().count(),
                "bulk_running": project.bulk_running,
                "quotas": quotas,
                "disks": disks,
            });
            (project.id.to_string(), value)
        });
        json!({ "projects": projects.collect::<serde_json::Map<_, _>>() })
    }
}
