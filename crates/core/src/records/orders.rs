//! What the operator ordered, and what decisions make of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    ids::{Shard, Zone},
    time::Timestamp,
};

/// Who ordered something, when and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Who, as far as the admin API knows.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why, in the operator's words; may be empty. Developers read it.
    #[serde(default)]
    pub note: String,
}

/// A part of the cloud that can be taken out of service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// One region of one project.
    Shard(Shard),
    /// One zone, in every project.
    Zone(Zone),
    /// A machine family, in one zone or in all.
    Family {
        /// Such as `n2d`.
        family: String,
        /// Where; everywhere if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<Zone>,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shard(shard) => write!(f, "{shard}"),
            Self::Zone(zone) => write!(f, "{zone}"),
            Self::Family { family, zone: None } => write!(f, "{family}"),
            Self::Family {
                family,
                zone: Some(zone),
            } => write!(f, "{family}@{zone}"),
        }
    }
}

/// A place out of service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cordon {
    /// Which.
    pub place: Place,
    /// Machines there that have no job yet are deleted, and their jobs placed elsewhere. Running jobs run on.
    #[serde(default)]
    pub drain: bool,
    /// Whose order it is.
    pub order: Order,
}

/// All standing orders. Key: `operator/orders`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// While set no machine is made. Jobs are taken in and told so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Order>,
    /// Places out of service, each once, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cordons: Vec<Cordon>,
}

impl Orders {
    /// The name of their record below `operator/`.
    pub const NAME: &str = "orders";

    /// Takes a place out of service; a cordon that it has is replaced.
    pub fn cordon(&mut self, cordon: Cordon) {
        match self
            .cordons
            .binary_search_by(|known| known.place.cmp(&cordon.place))
        {
            Ok(at) => self.cordons[at] = cordon,
            Err(at) => self.cordons.insert(at, cordon),
        }
    }

    /// Takes a place into service again. False if it was not out of it.
    pub fn uncordon(&mut self, place: &Place) -> bool {
        let before = self.cordons.len();
        self.cordons.retain(|cordon| cordon.place != *place);
        self.cordons.len() < before
    }

    /// No machine is to be made in this shard.
    pub fn closes(&self, shard: &Shard) -> bool {
        self.cordons
            .iter()
            .any(|cordon| matches!(&cordon.place, Place::Shard(place) if place == shard))
    }

    /// No machine is to be made in this zone.
    pub fn closes_zone(&self, zone: &Zone) -> bool {
        self.cordons
            .iter()
            .any(|cordon| matches!(&cordon.place, Place::Zone(place) if place == zone))
    }

    /// No machine of a family is to be made in this zone.
    pub fn closes_family(&self, family: &str, zone: &Zone) -> bool {
        self.cordons.iter().any(|cordon| match &cordon.place {
            Place::Family {
                family: closed,
                zone: at,
            } => closed == family && at.as_ref().is_none_or(|at| at == zone),
            Place::Shard(_) | Place::Zone(_) => false,
        })
    }

    /// Machines of a family without a job are not to stay here.
    pub fn drains(&self, shard: &Shard, zone: Option<&Zone>, family: Option<&str>) -> bool {
        self.cordons
            .iter()
            .filter(|cordon| cordon.drain)
            .any(|cordon| match &cordon.place {
                Place::Shard(place) => place == shard,
                Place::Zone(place) => Some(place) == zone,
                Place::Family {
                    family: closed,
                    zone: at,
                } => Some(closed.as_str()) == family && at.as_ref().is_none_or(|at| Some(at) == zone),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard() -> Shard {
        Shard {
            project: "ci".into(),
            region: "r1".into(),
        }
    }

    fn cordon(place: Place, drain: bool) -> Cordon {
        Cordon {
            place,
            drain,
            order: Order {
                by: "ann".to_owned(),
                at: Timestamp(1),
                note: String::new(),
            },
        }
    }

    #[test]
    fn a_place_has_one_cordon_and_the_last_one_counts() {
        let mut orders = Orders::default();
        orders.cordon(cordon(Place::Zone("r1-a".into()), false));
        orders.cordon(cordon(Place::Shard(shard()), true));
        orders.cordon(cordon(Place::Shard(shard()), false));
        assert_eq!(orders.cordons.len(), 2);
        assert!(orders.closes(&shard()) && !orders.drains(&shard(), None, None));
        assert!(orders.closes_zone(&"r1-a".into()) && !orders.closes_zone(&"r1-b".into()));
        assert!(orders.uncordon(&Place::Shard(shard())));
        assert!(!orders.uncordon(&Place::Shard(shard())));
        assert!(!orders.closes(&shard()));
    }

    #[test]
    fn a_drained_zone_is_drained_in_every_project_and_nowhere_else() {
        let mut orders = Orders::default();
        orders.cordon(cordon(Place::Zone("r1-a".into()), true));
        assert!(orders.drains(&shard(), Some(&"r1-a".into()), None));
        assert!(!orders.drains(&shard(), Some(&"r1-b".into()), None));
        assert!(!orders.drains(&shard(), None, None), "where it is is not known");
    }

    #[test]
    fn a_family_is_closed_where_it_is_said_and_no_other_is() {
        let mut orders = Orders::default();
        let family = |zone: Option<&str>| Place::Family {
            family: "n2d".to_owned(),
            zone: zone.map(Zone::new),
        };
        orders.cordon(cordon(family(Some("r1-a")), true));
        let (a, b) = ("r1-a".into(), "r1-b".into());
        assert!(orders.closes_family("n2d", &a) && !orders.closes_family("n2d", &b));
        assert!(!orders.closes_family("n2", &a) && !orders.closes_zone(&a) && !orders.closes(&shard()));
        assert!(orders.drains(&shard(), Some(&a), Some("n2d")));
        assert!(
            !orders.drains(&shard(), Some(&a), Some("n2")) && !orders.drains(&shard(), Some(&b), Some("n2d"))
        );
        orders.cordon(cordon(family(None), false));
        assert!(orders.closes_family("n2d", &b));
        assert_eq!(
            [family(None), family(Some("r1-a"))].map(|place| place.to_string()),
            ["n2d", "n2d@r1-a"]
        );
    }

    #[test]
    fn a_record_without_orders_is_an_empty_one() {
        assert_eq!(serde_json::from_str::<Orders>("{}").unwrap(), Orders::default());
    }
}
