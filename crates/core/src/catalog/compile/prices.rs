//! Prices of a family, by region.

use std::collections::BTreeMap;

use super::super::error::Error;
use super::super::family::{Predefined, PriceList};
use super::super::file;
use super::{BASE_REGION, sense};
use crate::ids::{MachineTypeName, Region};

/// What of a family must have a price.
pub(super) struct Priced<'a> {
    pub custom: bool,
    pub local_ssd: bool,
    pub types: &'a [Predefined],
}

pub(super) fn prices(
    family: &str,
    lists: BTreeMap<String, file::Prices>,
    sources: &BTreeMap<String, file::PriceSource>,
    priced: &Priced<'_>,
) -> Result<BTreeMap<Region, PriceList>, Error> {
    let mut compiled = BTreeMap::new();
    for (region, list) in lists {
        let list = price_list(family, &region, list, sources.get(&region), priced)?;
        compiled.insert(Region::new(region), list);
    }
    if !compiled.contains_key(&Region::from(BASE_REGION)) {
        let key = format!("family.{family}.prices");
        return Err(sense(
            key,
            "lacks us-central1",
            "give that region's prices; they stand in elsewhere",
        ));
    }
    Ok(compiled)
}

fn price_list(
    family: &str,
    region: &str,
    list: file::Prices,
    source: Option<&file::PriceSource>,
    priced: &Priced<'_>,
) -> Result<PriceList, Error> {
    let key = |part: &str| format!("family.{family}.prices.{region}.{part}");
    let premium = list.custom_premium_percent;
    let custom = list
        .custom
        .or_else(|| Some(list.on_demand?.plus_percent(premium?)));
    let custom_spot = list
        .custom_spot
        .or_else(|| Some(list.spot?.plus_percent(premium?)));
    let typed = |t: &Predefined| list.types.contains_key(t.name.as_str());
    if list.on_demand.is_none() && list.types.is_empty() {
        return Err(sense(
            key("on_demand"),
            "is missing",
            "give both prices, or a price for each type",
        ));
    }
    if let Some(unknown) = list
        .types
        .keys()
        .find(|name| !priced.types.iter().any(|t| t.name.as_str() == *name))
    {
        let why = format!("names the type {unknown}, which the family does not have");
        return Err(sense(key("types"), why, "fix the name or describe the type"));
    }
    if priced.custom && custom.is_none() {
        return Err(sense(
            key("custom"),
            "is missing",
            "give it, or custom_premium_percent",
        ));
    }
    if (priced.local_ssd || priced.types.iter().any(|t| t.bundled_ssds > 0 && !typed(t)))
        && list.on_demand.is_some()
        && list.local_ssd.is_none()
    {
        return Err(sense(
            key("local_ssd"),
            "is missing",
            "give both prices per GiB-month",
        ));
    }
    let missing = |what| {
        sense(
            key(what),
            "is missing",
            "say of which day and whose the figures are",
        )
    };
    Ok(PriceList {
        as_of: (list.as_of.or_else(|| Some(source?.as_of.clone()))).ok_or_else(|| missing("as_of"))?,
        source: (list.source.or_else(|| Some(source?.source.clone()))).ok_or_else(|| missing("source"))?,
        on_demand: list.on_demand,
        spot: list.spot,
        custom: if priced.custom { custom } else { None },
        custom_spot: if priced.custom { custom_spot } else { None },
        extended: list.extended.map(|e| (e.on_demand, e.spot)),
        types: list
            .types
            .into_iter()
            .map(|(name, price)| (MachineTypeName::new(name), (price.on_demand, price.spot)))
            .collect(),
        local_ssd: list.local_ssd.map(|p| (p.on_demand, p.spot)),
    })
}
