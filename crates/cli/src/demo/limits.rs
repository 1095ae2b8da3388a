//! Which limits the stand-in of Google's cloud keeps in a demo, as a file and in words.
//!
//! The files belong to the stand-ins; they are data, and the only thing of theirs that is built in here.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context as _;
use toml::{Table, Value};

use crate::{exit_codes, failure::Failure};

const DEMO: &str = include_str!("../../../fakes/limits/demo.toml");
const DEFAULT: &str = include_str!("../../../fakes/limits/default.toml");

/// The limits of one demo.
pub(crate) struct Limits {
    /// The file's text.
    pub(crate) text: String,
    /// What is said about them at the start.
    pub(crate) told: String,
    /// vCPUs allowed in each region by family, where Google's region does not show the quota.
    pub(crate) family_quotas: BTreeMap<String, i64>,
}

/// The limits of a name (`demo`, `default`) or file, with Google's own boot times where `real_time`.
///
/// # Errors
/// The file cannot be read or is no TOML.
pub(crate) fn choose(name: &str, real_time: bool) -> Result<Limits, Failure> {
    let (text, what) = match name {
        "demo" => (DEMO.to_owned(), "raised for the demo".to_owned()),
        "default" => (DEFAULT.to_owned(), "those of a new project".to_owned()),
        file => {
            let text = std::fs::read_to_string(Path::new(file))
                .with_context(|| format!("cannot read the limits {file}"))
                .map_err(|error| {
                    Failure::new(exit_codes::CONFIG, error)
                        .hint("give `demo`, `default` or the path of a file")
                })?;
            (text, format!("from {file}"))
        }
    };
    let mut table = parse(&text, name)?;
    if real_time {
        take_boot_times(&mut table, &parse(DEFAULT, "default")?);
    }
    let told = format!("quotas {what}{}; {}", samples(&table), boot(&table));
    Ok(Limits {
        family_quotas: family_quotas(&table),
        text: toml::to_string(&table).context("cannot write the limits")?,
        told,
    })
}

fn parse(text: &str, name: &str) -> Result<Table, Failure> {
    text.parse::<Table>()
        .with_context(|| format!("the limits {name} are no TOML"))
        .map_err(|error| Failure::new(exit_codes::CONFIG, error))
}

/// Replaces the times of machines and operations by those of `from`.
fn take_boot_times(table: &mut Table, from: &Table) {
    let Some(Value::Table(real)) = from.get("gce") else {
        return;
    };
    let gce = table.entry("gce").or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(gce) = gce {
        for key in ["boot", "operations"] {
            if let Some(times) = real.get(key) {
                gce.insert(key.to_owned(), times.clone());
            }
        }
    }
}

fn number(table: &Table, path: [&str; 3]) -> Option<i64> {
    let section = table.get(path[0])?.get(path[1])?;
    section.get(path[2])?.as_integer()
}

fn family_quotas(table: &Table) -> BTreeMap<String, i64> {
    let quotas = table.get("gce").and_then(|gce| gce.get("family_quotas"));
    let quotas = quotas.and_then(Value::as_table).into_iter().flatten();
    quotas
        .filter_map(|(family, limit)| Some((family.clone(), limit.as_integer()?)))
        .collect()
}

/// Two quotas that a reader knows, for scale.
fn samples(table: &Table) -> String {
    let n2d = number(table, ["gce", "quotas", "N2D_CPUS"]);
    let c4a = number(table, ["gce", "family_quotas", "C4A"]);
    match (n2d, c4a) {
        (Some(n2d), Some(c4a)) => format!(" ({n2d} N2D and {c4a} C4A vCPUs a region)"),
        _ => String::new(),
    }
}

/// How long machines take to boot: the sum of the phases, each of which is a range.
fn boot(table: &Table) -> String {
    let speed = table
        .get("speed")
        .and_then(Value::as_float)
        .filter(|speed| *speed > 0.0)
        .unwrap_or(1.0);
    let phases = table.get("gce").and_then(|gce| gce.get("boot"));
    let bound = |i: usize| -> f64 {
        ["provisioning_s", "staging_s", "guest_s"]
            .iter()
            .filter_map(|phase| phases?.get(*phase)?.get(i)?.as_float())
            .sum::<f64>()
            / speed
    };
    format!("machines boot in {:.0} to {:.0} s", bound(0), bound(1))
}

#[cfg(test)]
mod tests {
    use super::choose;

    #[test]
    fn the_limits_in_force_are_told() {
        let told = |name, real| choose(name, real).map(|l| l.told).expect("built in");
        insta::assert_snapshot!([told("demo", false), told("demo", true), told("default", false)].join("\n"));
    }

    #[test]
    fn real_time_changes_times_and_nothing_else() {
        let fast: toml::Table = choose("demo", false).expect("built in").text.parse().unwrap();
        let slow: toml::Table = choose("demo", true).expect("built in").text.parse().unwrap();
        assert_eq!(fast["gce"]["quotas"], slow["gce"]["quotas"]);
        assert_eq!(fast["buildkite"], slow["buildkite"]);
        assert_ne!(fast["gce"]["boot"], slow["gce"]["boot"]);
    }

    #[test]
    fn a_file_that_is_absent_is_told() {
        let failure = choose("/nowhere/limits.toml", false).err().expect("absent");
        assert_eq!(failure.code, crate::exit_codes::CONFIG);
    }
}
