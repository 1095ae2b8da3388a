//! The methods of the API that the fake has: their names in the log and their rate groups.

/// A method.
#[derive(Debug, PartialEq, Eq)]
pub struct Method {
    /// `compute.regionInstances.bulkInsert`.
    pub name: &'static str,
    /// Rate groups, legacy first, then those of the simplified scheme.
    pub groups: &'static [&'static str],
    /// Whether its groups count over the whole project.
    pub is_global: bool,
}

const WRITE: &[&str] = &["default_per_region", "writes_per_region", "requests_per_region"];
const READ: &[&str] = &[
    "read_requests_per_region",
    "reads_per_region",
    "requests_per_region",
];
const LIST: &[&str] = &[
    "list_requests_per_region",
    "reads_per_region",
    "requests_per_region",
];
const OPERATION: &[&str] = &[
    "operation_read_requests_per_region",
    "reads_per_region",
    "requests_per_region",
];
const WAIT: &[&str] = &[
    "heavy_weight_read_requests_per_region",
    "reads_per_region",
    "requests_per_region",
];
const ATTRIBUTES: &[&str] = &["default_per_region", "reads_per_region", "requests_per_region"];
const SERIAL: &[&str] = &[
    "get_serial_port_output_requests_per_region",
    "reads_per_region",
    "requests_per_region",
];
const GLOBAL_HEAVY: &[&str] = &["heavy_weight_read_requests", "global_reads"];
const GLOBAL_OPERATION: &[&str] = &["operation_read_requests", "global_reads"];
const GLOBAL_READ: &[&str] = &["read_requests", "global_reads"];
const GLOBAL_LIST: &[&str] = &["list_requests", "global_reads"];

const fn regional(name: &'static str, groups: &'static [&'static str]) -> Method {
    Method {
        name,
        groups,
        is_global: false,
    }
}

const fn global(name: &'static str, groups: &'static [&'static str]) -> Method {
    Method {
        name,
        groups,
        is_global: true,
    }
}

/// A method that the fake has not: it counts like its kin and answers 501.
pub const fn unbuilt(name: &'static str, kin: Kin) -> Method {
    match kin {
        Kin::Write => regional(name, WRITE),
        Kin::Read => regional(name, READ),
        Kin::List => regional(name, LIST),
        Kin::GlobalRead => global(name, GLOBAL_READ),
        Kin::GlobalList => global(name, GLOBAL_LIST),
        Kin::Aggregated => global(name, GLOBAL_HEAVY),
    }
}

/// What sort of method an unbuilt one is, for its rate groups.
#[derive(Clone, Copy, Debug)]
pub enum Kin {
    /// Changes something in a zone or region.
    Write,
    /// Reads one thing of a zone or region.
    Read,
    /// Lists things of a zone or region.
    List,
    /// Reads one thing of the project.
    GlobalRead,
    /// Lists things of the project.
    GlobalList,
    /// Lists things of all zones or regions.
    Aggregated,
}

macro_rules! methods {
    ($($ident:ident = $value:expr;)*) => { $(
        #[doc = concat!("The method `", stringify!($ident), "`.")]
        pub static $ident: Method = $value;
    )* };
}

methods! {
    REGION_BULK_INSERT = regional("compute.regionInstances.bulkInsert", WRITE);
    BULK_INSERT = regional("compute.instances.bulkInsert", WRITE);
    INSERT = regional("compute.instances.insert", WRITE);
    GET = regional("compute.instances.get", READ);
    LIST_INSTANCES = regional("compute.instances.list", LIST);
    AGGREGATED_LIST = global("compute.instances.aggregatedList", GLOBAL_HEAVY);
    DELETE = regional("compute.instances.delete", WRITE);
    STOP = regional("compute.instances.stop", WRITE);
    START = regional("compute.instances.start", WRITE);
    RESET = regional("compute.instances.reset", WRITE);
    SUSPEND = regional("compute.instances.suspend", WRITE);
    RESUME = regional("compute.instances.resume", WRITE);
    SET_LABELS = regional("compute.instances.setLabels", WRITE);
    SET_METADATA = regional("compute.instances.setMetadata", WRITE);
    SIMULATE_MAINTENANCE = regional("compute.instances.simulateMaintenanceEvent", WRITE);
    SERIAL_PORT = regional("compute.instances.getSerialPortOutput", SERIAL);
    GUEST_ATTRIBUTES = regional("compute.instances.getGuestAttributes", ATTRIBUTES);
    ZONE_OPERATION_GET = regional("compute.zoneOperations.get", OPERATION);
    ZONE_OPERATION_WAIT = regional("compute.zoneOperations.wait", WAIT);
    ZONE_OPERATION_LIST = regional("compute.zoneOperations.list", LIST);
    ZONE_OPERATION_DELETE = regional("compute.zoneOperations.delete", WRITE);
    REGION_OPERATION_GET = regional("compute.regionOperations.get", OPERATION);
    REGION_OPERATION_WAIT = regional("compute.regionOperations.wait", WAIT);
    REGION_OPERATION_LIST = regional("compute.regionOperations.list", LIST);
    REGION_OPERATION_DELETE = regional("compute.regionOperations.delete", WRITE);
    GLOBAL_OPERATION_GET = global("compute.globalOperations.get", GLOBAL_OPERATION);
    GLOBAL_OPERATION_WAIT = global("compute.globalOperations.wait", GLOBAL_HEAVY);
    GLOBAL_OPERATION_LIST = global("compute.globalOperations.list", GLOBAL_LIST);
    GLOBAL_OPERATION_DELETE = global("compute.globalOperations.delete", GLOBAL_OPERATION);
    OPERATION_AGGREGATED_LIST = global("compute.globalOperations.aggregatedList", GLOBAL_HEAVY);
    REGION_GET = global("compute.regions.get", GLOBAL_READ);
    REGION_LIST = global("compute.regions.list", GLOBAL_LIST);
    ZONE_GET = global("compute.zones.get", GLOBAL_READ);
    ZONE_LIST = global("compute.zones.list", GLOBAL_LIST);
    MACHINE_TYPE_GET = regional("compute.machineTypes.get", READ);
    MACHINE_TYPE_LIST = regional("compute.machineTypes.list", LIST);
    MACHINE_TYPE_AGGREGATED_LIST = global("compute.machineTypes.aggregatedList", GLOBAL_HEAVY);
    SUBNETWORK_GET = regional("compute.subnetworks.get", READ);
    SUBNETWORK_LIST = regional("compute.subnetworks.list", LIST);
    IMAGE_GET = global("compute.images.get", GLOBAL_READ);
    IMAGE_OF_FAMILY = global("compute.images.getFromFamily", GLOBAL_READ);
    PROJECT_GET = global("compute.projects.get", GLOBAL_READ);
}

/// The limit's name as refusals give it, `default_per_region` → `QueriesPerMinutePerRegion`.
pub fn limit_name(group: &str) -> String {
    let words: String = group
        .trim_end_matches("_per_region")
        .split('_')
        .map(|word| word[..1].to_uppercase() + &word[1..])
        .collect();
    let words = if words == "Default" {
        "Queries".into()
    } else {
        words
    };
    let region = if group.ends_with("_per_region") {
        "PerRegion"
    } else {
        ""
    };
    format!("{words}PerMinute{region}")
}
