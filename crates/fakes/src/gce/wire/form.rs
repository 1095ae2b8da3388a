//! The forms of fields that the fake only shows again or passes over: which types, names and fields they take.
//!
//! Written from the discovery document, by way of the wire reference.

use serde_json::Value;

use super::fields::unknown;
use crate::gce::error::ApiError;

/// A field and its form.
pub(super) type Named = (&'static str, Form);

/// What a value must be.
#[derive(Debug)]
pub(super) enum Form {
    /// A text.
    Text,
    /// A truth value.
    Flag,
    /// An integer, as a number or as a string, between these.
    Whole(i64, i64),
    /// An enum by its name.
    One(&'static [&'static str]),
    /// A map of texts.
    Map,
    /// A list.
    List(&'static Form),
    /// An object with these fields.
    Object(&'static [Named]),
}

impl Form {
    /// Refuses a value of another form.
    pub fn check(&self, path: &str, value: &Value) -> Result<(), ApiError> {
        let text = value.as_str();
        let why = match self {
            Self::Text if value.is_string() => return Ok(()),
            Self::Text => "Must be a string.".to_owned(),
            Self::Flag if value.is_boolean() => return Ok(()),
            Self::Flag => "Must be a boolean.".to_owned(),
            Self::Whole(least, most) => {
                let number = value.as_i64().or_else(|| text.and_then(|text| text.parse().ok()));
                match number {
                    Some(number) if (*least..=*most).contains(&number) => return Ok(()),
                    Some(_) => format!("Must be between [{least}, {most}]."),
                    None => "Must be an integer.".to_owned(),
                }
            }
            Self::One(known) if text.is_some_and(|text| known.contains(&text)) => return Ok(()),
            Self::One(known) => format!("Must be one of {}.", known.join(", ")),
            Self::Map => match value.as_object() {
                Some(fields) => {
                    return fields
                        .iter()
                        .try_for_each(|(key, value)| Self::Text.check(&format!("{path}[{key}]"), value));
                }
                None => "Must be an object.".to_owned(),
            },
            Self::List(form) => match value.as_array() {
                Some(items) => {
                    let mut items = items.iter().enumerate();
                    return items.try_for_each(|(index, item)| form.check(&format!("{path}[{index}]"), item));
                }
                None => "Must be a list.".to_owned(),
            },
            Self::Object(fields) => match value.as_object() {
                Some(given) => {
                    return given.iter().try_for_each(|(key, value)| {
                        let known = fields.iter().find(|(name, _)| name == key);
                        let (_, form) = known.ok_or_else(|| unknown(path, key))?;
                        match value.is_null() {
                            true => Ok(()),
                            false => form.check(&format!("{path}.{key}"), value),
                        }
                    });
                }
                None => "Must be an object.".to_owned(),
            },
        };
        let shown = text.map_or_else(|| value.to_string(), str::to_owned);
        Err(ApiError::field(path, &shown, &why))
    }
}

const ANY: Form = Form::Whole(i64::MIN, i64::MAX);
const COUNT: Form = Form::Whole(0, i64::MAX);
const TEXTS: Form = Form::List(&Form::Text);
const DURATION: Form = Form::Object(&[("seconds", COUNT), ("nanos", Form::Whole(0, 999_999_999))]);

/// Fields of a machine that are shown again and mean nothing here.
pub(super) const MACHINE: &[Named] = &[
    (
        "advancedMachineFeatures",
        Form::Object(&[
            ("enableNestedVirtualization", Form::Flag),
            ("enableUefiNetworking", Form::Flag),
            (
                "performanceMonitoringUnit",
                Form::One(&[
                    "ARCHITECTURAL",
                    "ENHANCED",
                    "PERFORMANCE_MONITORING_UNIT_UNSPECIFIED",
                    "STANDARD",
                ]),
            ),
            ("threadsPerCore", Form::Whole(0, 2)),
            ("turboMode", Form::One(&["ALL_CORE_MAX"])),
            ("visibleCoreCount", COUNT),
        ]),
    ),
    (
        "confidentialInstanceConfig",
        Form::Object(&[
            ("enableConfidentialCompute", Form::Flag),
            (
                "confidentialInstanceType",
                Form::One(&["CONFIDENTIAL_INSTANCE_TYPE_UNSPECIFIED", "SEV", "SEV_SNP", "TDX"]),
            ),
        ]),
    ),
    ("description", Form::Text),
    (
        "guestAccelerators",
        Form::List(&Form::Object(&[
            ("acceleratorType", Form::Text),
            ("acceleratorCount", COUNT),
        ])),
    ),
    (
        "keyRevocationActionType",
        Form::One(&["KEY_REVOCATION_ACTION_TYPE_UNSPECIFIED", "NONE", "STOP"]),
    ),
    ("localSsdEncryptionMode", Form::Text),
    ("minCpuPlatform", Form::Text),
    (
        "networkPerformanceConfig",
        Form::Object(&[("totalEgressBandwidthTier", Form::One(&["DEFAULT", "TIER_1"]))]),
    ),
    (
        "privateIpv6GoogleAccess",
        Form::One(&[
            "ENABLE_BIDIRECTIONAL_ACCESS_TO_GOOGLE",
            "ENABLE_OUTBOUND_VM_ACCESS_TO_GOOGLE",
            "INHERIT_FROM_SUBNETWORK",
        ]),
    ),
    (
        "reservationAffinity",
        Form::Object(&[
            (
                "consumeReservationType",
                Form::One(&[
                    "ANY_RESERVATION",
                    "NO_RESERVATION",
                    "SPECIFIC_RESERVATION",
                    "UNSPECIFIED",
                ]),
            ),
            ("key", Form::Text),
            ("values", TEXTS),
        ]),
    ),
    ("resourcePolicies", TEXTS),
    (
        "shieldedInstanceConfig",
        Form::Object(&[
            ("enableIntegrityMonitoring", Form::Flag),
            ("enableSecureBoot", Form::Flag),
            ("enableVtpm", Form::Flag),
        ]),
    ),
    (
        "workloadIdentityConfig",
        Form::Object(&[
            ("identity", Form::Text),
            ("identityCertificateEnabled", Form::Flag),
        ]),
    ),
];

/// `params` of an insert: not shown again.
pub(super) const PARAMS: &[Named] = &[(
    "params",
    Form::Object(&[
        ("requestValidForDuration", DURATION),
        ("resourceManagerTags", Form::Map),
    ]),
)];

/// Fields of `scheduling` that are shown again.
pub(super) const SCHEDULING: &[Named] = &[
    (
        "onInstanceStopAction",
        Form::Object(&[("discardLocalSsd", Form::Flag)]),
    ),
    ("preemptionNoticeDuration", DURATION),
    (
        "gracefulShutdown",
        Form::Object(&[("enabled", Form::Flag), ("maxDuration", DURATION)]),
    ),
    ("skipGuestOsShutdown", Form::Flag),
    ("exposeHostTopology", Form::Flag),
    ("hostErrorTimeoutSeconds", Form::Whole(90, 330)),
    ("localSsdRecoveryTimeout", DURATION),
    ("availabilityDomain", COUNT),
    ("minNodeCpus", COUNT),
    (
        "nodeAffinities",
        Form::List(&Form::Object(&[
            ("key", Form::Text),
            ("operator", Form::One(&["IN", "NOT_IN", "OPERATOR_UNSPECIFIED"])),
            ("values", TEXTS),
        ])),
    ),
    ("locationHint", Form::Text),
];

/// Fields of a disk that mean nothing here.
pub(super) const DISK: &[Named] = &[
    ("kind", Form::Text),
    ("index", ANY),
    ("architecture", ARCHITECTURE),
    (
        "guestOsFeatures",
        Form::List(&Form::Object(&[("type", Form::Text)])),
    ),
    ("licenses", TEXTS),
];

const ARCHITECTURE: Form = Form::One(&["ARCHITECTURE_UNSPECIFIED", "ARM64", "X86_64"]);

/// Fields of `initializeParams` that mean nothing here.
pub(super) const NEW_DISK: &[Named] = &[
    ("provisionedIops", COUNT),
    ("provisionedThroughput", COUNT),
    ("architecture", ARCHITECTURE),
    ("description", Form::Text),
    ("resourceManagerTags", Form::Map),
    (
        "onUpdateAction",
        Form::One(&[
            "RECREATE_DISK",
            "RECREATE_DISK_IF_SOURCE_CHANGED",
            "USE_EXISTING_DISK",
        ]),
    ),
    ("enableConfidentialCompute", Form::Flag),
    ("storagePool", Form::Text),
];

/// Fields of an `accessConfig` that mean nothing here.
pub(super) const ACCESS: &[Named] = &[
    ("kind", Form::Text),
    ("name", Form::Text),
    ("type", Form::One(&["DIRECT_IPV6", "ONE_TO_ONE_NAT"])),
    (
        "networkTier",
        Form::One(&[
            "FIXED_STANDARD",
            "PREMIUM",
            "STANDARD",
            "STANDARD_OVERRIDES_FIXED_STANDARD",
        ]),
    ),
];

/// Fields of a network interface that mean nothing here.
pub(super) const NETWORK: &[Named] = &[
    ("kind", Form::Text),
    ("name", Form::Text),
    ("fingerprint", Form::Text),
    ("queueCount", COUNT),
    ("stackType", Form::One(&["IPV4_ONLY", "IPV4_IPV6", "IPV6_ONLY"])),
    (
        "ipv6AccessType",
        Form::One(&["EXTERNAL", "INTERNAL", "UNSPECIFIED_IPV6_ACCESS_TYPE"]),
    ),
    ("enableVpcScopedDns", Form::Flag),
];
