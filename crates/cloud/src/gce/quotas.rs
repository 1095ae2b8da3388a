//! What Google says of a shard's quotas: those of its region and its project, and the addresses of its subnet.

use google_cloud_compute_v1::model::{Subnetwork, subnetworks::get_request::Views};
use gust_core::{
    ids::{Region, Shard},
    ports::{CloudError, Quota, RefusalClass},
    quota::SUBNET_ADDRESSES,
};

use super::{
    calls::{PROJECT_GET, REGION_GET, SUBNETWORK_GET},
    client::Missed,
    cloud::GceCloud,
    config::Subnet,
    read,
};

impl GceCloud {
    pub(super) async fn read_quotas(&self, shard: &Shard) -> Result<Vec<Quota>, CloudError> {
        let (project, region) = (shard.project.as_str(), shard.region.as_str());
        let of_region = self.client.regions.get().with_options(self.client.options());
        let of_region = of_region.set_project(project).set_region(region);
        let of_project = self.client.projects.get().with_options(self.client.options());
        let of_project = of_project.set_project(project);
        let (of_region, of_project, addresses) = tokio::join!(
            self.client
                .call(REGION_GET, &shard.region, move || of_region.clone().send()),
            self.client
                .call(PROJECT_GET, &shard.region, move || of_project.clone().send()),
            self.read_addresses(shard),
        );
        let of_region = of_region.map_err(|m| m.into_error(REGION_GET))?;
        if let Some(warning) = &of_region.quota_status_warning {
            // Without quotas everything would look unlimited.
            let message = format!("quotas of {region} could not be read: {warning:?}");
            return Err(CloudError::Unclear {
                call: REGION_GET.name,
                message,
                source: None,
            });
        }
        let of_project = of_project.map_err(|m| m.into_error(PROJECT_GET))?;
        let families = self.config.family_quotas.iter().map(|(family, limit)| Quota {
            metric: format!("CPUS_PER_VM_FAMILY:{family}"),
            // Limits are far below where f64 loses whole numbers.
            limit: *limit as f64,
            usage: 0.0,
            project_wide: false,
        });
        let regional = of_region.quotas.iter().filter_map(|q| read::quota(q, false));
        let global = of_project.quotas.iter().filter_map(|q| read::quota(q, true));
        let all = regional.chain(global).chain(families);
        Ok(all.chain(addresses?).collect())
    }

    /// The addresses of the subnet that machines join. Where Google does not let us read it (a network shared by another
    /// project, a role that lacks `compute.subnetworks.get`), there is no such limit here, and its end shows as
    /// refusals.
    async fn read_addresses(&self, shard: &Shard) -> Result<Option<Quota>, CloudError> {
        let Some(subnet) = self.config.subnet.as_ref().and_then(|s| s.of(shard)) else {
            return Ok(None);
        };
        let call = self.client.subnetworks.get().with_options(self.client.options());
        let call = call
            .set_project(subnet.project)
            .set_region(shard.region.as_str())
            .set_subnetwork(subnet.name)
            .set_views(Views::WithUtilization);
        match self
            .client
            .call(SUBNETWORK_GET, &shard.region, move || call.clone().send())
            .await
        {
            Ok(found) => Ok(addresses(&found)),
            Err(Missed::Absent(why)) => {
                tracing::debug!(gust.shard = %shard, why, "the subnet cannot be read; its addresses are not counted");
                Ok(None)
            }
            Err(Missed::Failed(CloudError::Refused {
                class: RefusalClass::Denied | RefusalClass::Broken,
                message,
                ..
            })) => {
                tracing::debug!(gust.shard = %shard, message, "the subnet cannot be read; its addresses are not counted");
                Ok(None)
            }
            Err(missed) => Err(missed.into_error(SUBNETWORK_GET)),
        }
    }
}

/// A subnet by the names that a read takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named<'a> {
    pub project: &'a str,
    pub name: &'a str,
}

impl Subnet {
    /// The subnet that machines of a shard join; none if it is one of another region, or of a network that has a name
    /// only.
    pub(super) fn of<'a>(&'a self, shard: &'a Shard) -> Option<Named<'a>> {
        let own = shard.project.as_str();
        let Some(path) = self.subnetwork.as_deref() else {
            // A network of auto mode has one subnet a region, of its own name.
            let (project, name) = split(&self.network, "networks")?;
            return Some(Named {
                project: project.unwrap_or(own),
                name,
            });
        };
        let (project, name) = split(path, "subnetworks")?;
        let region = named(path, "regions").map(Region::new);
        let here = region.is_none_or(|region| region == shard.region);
        here.then(|| Named {
            project: project.unwrap_or(own),
            name,
        })
    }
}

/// Project and name in a full or partial URL, or a bare name.
fn split<'a>(path: &'a str, kind: &str) -> Option<(Option<&'a str>, &'a str)> {
    let name = if path.contains('/') {
        named(path, kind)?
    } else {
        path
    };
    Some((named(path, "projects"), name))
}

fn named<'a>(path: &'a str, kind: &str) -> Option<&'a str> {
    let mut parts = path.split('/');
    parts.find(|part| *part == kind)?;
    parts.next().filter(|name| !name.is_empty())
}

/// The primary range's; it has no name of its own.
fn addresses(subnet: &Subnetwork) -> Option<Quota> {
    let ranges = &subnet.utilization_details.as_ref()?.ipv_4_utilizations;
    let primary = ranges
        .iter()
        .find(|range| range.range_name.as_deref().unwrap_or_default().is_empty())?;
    let (used, free) = (primary.total_allocated_ip?, primary.total_free_ip?);
    Some(Quota {
        metric: SUBNET_ADDRESSES.to_owned(),
        // Far below where f64 loses whole numbers.
        limit: (used + free) as f64,
        usage: used as f64,
        project_wide: false,
    })
}

#[cfg(test)]
mod tests {
    use google_cloud_compute_v1::model::{
        SubnetworkUtilizationDetails, SubnetworkUtilizationDetailsIPV4Utilization as Range,
    };
    use gust_core::ids::ProjectId;

    use super::*;

    fn read<'a>(subnet: &'a Subnet, shard: &'a Shard) -> Option<(&'a str, &'a str)> {
        subnet.of(shard).map(|named| (named.project, named.name))
    }

    #[test]
    fn a_subnet_is_found_by_each_spelling_of_its_name() {
        let shard = Shard {
            project: ProjectId::new("mine"),
            region: Region::new("us-central1"),
        };
        let of = |network: &str, subnetwork: Option<&str>| Subnet {
            network: network.into(),
            subnetwork: subnetwork.map(str::to_owned),
        };
        let auto = of("global/networks/default", None);
        assert_eq!(read(&auto, &shard), Some(("mine", "default")));
        let bare = of("global/networks/ci", Some("ci-machines"));
        assert_eq!(read(&bare, &shard), Some(("mine", "ci-machines")));
        let shared = of(
            "projects/host/global/networks/ci",
            Some("projects/host/regions/us-central1/subnetworks/ci"),
        );
        assert_eq!(read(&shared, &shard), Some(("host", "ci")));
        let url = "https://www.googleapis.com/compute/v1/projects/host/regions/europe-west1/subnetworks/ci";
        assert_eq!(read(&of("global/networks/ci", Some(url)), &shard), None);
    }

    #[test]
    fn the_primary_range_counts() {
        let pods = Range::new()
            .set_range_name("pods")
            .set_total_allocated_ip(9)
            .set_total_free_ip(1);
        let primary = Range::new().set_total_allocated_ip(90).set_total_free_ip(162);
        let details = SubnetworkUtilizationDetails::new().set_ipv_4_utilizations([pods, primary]);
        let subnet = Subnetwork::new().set_utilization_details(details);
        let found = addresses(&subnet).expect("it tells");
        assert_eq!((found.limit, found.usage), (252.0, 90.0));
        assert_eq!(addresses(&Subnetwork::new()), None);
    }
}
