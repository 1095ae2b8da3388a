//! What Google lists in each zone, as far as it was asked: the catalog knows which regions have a family, not which
//! zone has which type today.

use std::collections::{BTreeMap, BTreeSet};

use super::size::Size;
use crate::catalog::{Catalog, Family, FamilyName};
use crate::ids::{MachineTypeName, Zone};

/// Machine types by zone, as the API listed them. A zone that was not listed has whatever the catalog says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offered {
    zones: BTreeMap<Zone, ZoneTypes>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ZoneTypes {
    types: BTreeSet<MachineTypeName>,
    /// Custom types are never listed: a zone that has any type of a family makes its custom types as well.
    families: BTreeSet<FamilyName>,
}

impl Offered {
    /// Takes a zone's whole list in; true if that changes anything. Types the catalog does not know are left out, and a
    /// list with none that it knows says nothing.
    pub fn learn<'a>(
        &mut self,
        catalog: &Catalog,
        zone: &Zone,
        names: impl IntoIterator<Item = &'a str>,
    ) -> bool {
        let mut listed = ZoneTypes {
            types: BTreeSet::new(),
            families: BTreeSet::new(),
        };
        for name in names {
            let name = MachineTypeName::new(name);
            if let Some(found) = catalog.machine_type(&name).filter(|f| f.predefined.is_some()) {
                listed.families.insert(found.family.name.clone());
                listed.types.insert(name);
            }
        }
        if listed.types.is_empty() || self.zones.get(zone) == Some(&listed) {
            return false;
        }
        self.zones.insert(zone.clone(), listed);
        true
    }

    /// Whether nothing was learned yet.
    pub fn is_empty(&self) -> bool {
        self.zones.is_empty()
    }

    /// Whether the zone was listed.
    pub fn knows(&self, zone: &Zone) -> bool {
        self.zones.contains_key(zone)
    }

    /// Whether a machine of this size can be made in the zone, for all that was learned.
    pub(super) fn has(&self, zone: &Zone, family: &Family, size: &Size<'_>) -> bool {
        self.zones.get(zone).is_none_or(|listed| match size.predefined {
            Some(predefined) => listed.types.contains(&predefined.name),
            None => listed.families.contains(&family.name),
        })
    }
}
