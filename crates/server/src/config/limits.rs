//! `[limits]`: the deadlines, patience and rates that decisions depend on.

use std::time::Duration;

use gust_core::settings::Settings;

use super::section::Section;

/// Reads `[limits]` over the defaults of [`Settings`].
pub(super) fn read(root: &Section<'_>) -> Settings {
    let defaults = Settings::default();
    let Some(section) = root.section("limits") else {
        return defaults;
    };
    let seconds = Duration::from_secs;
    let deadline = seconds(1)..=seconds(3600);
    let duration = |key, default| section.duration(key, deadline.clone(), default);
    // The longest reservation Buildkite grants is an hour (buildkite.com/docs/apis/stacks-api).
    let reservation = section.duration("reservation", seconds(10)..=seconds(3600), defaults.reservation);
    let short = Duration::ZERO..=seconds(600);
    let count = |key, range, default: u32| {
        u32::try_from(section.integer(key, range, u64::from(default))).unwrap_or(default)
    };
    let settings = Settings {
        reservation,
        boot_timeout: duration("boot_timeout", defaults.boot_timeout),
        acquire_timeout: duration("acquire_timeout", defaults.acquire_timeout),
        create_timeout: duration("create_timeout", defaults.create_timeout),
        end_grace: section.duration("end_grace", short.clone(), defaults.end_grace),
        overdue_margin: duration("overdue_margin", defaults.overdue_margin),
        list_lag: section.duration("list_lag", short.clone(), defaults.list_lag),
        hold: section.duration("hold", short, defaults.hold),
        patience: count("patience", 1..=100, defaults.patience),
        // Google runs ten bulk operations at a time and takes twenty requests a second; a project whose
        // limit was raised says so here.
        bulk_slots: count("bulk_slots", 1..=1000, defaults.bulk_slots),
        bulk_per_second: count("bulk_per_second", 1..=1000, defaults.bulk_per_second),
        singles: usize::try_from(section.integer("singles", 0..=1000, defaults.singles as u64))
            .unwrap_or(defaults.singles),
        aging: section.duration("aging", seconds(60)..=seconds(7 * 86_400), defaults.aging),
        merge_premium_percent: count("merge_premium_percent", 0..=100, defaults.merge_premium_percent),
        // No maximum is documented; others name nine.
        alternatives: usize::try_from(section.integer("alternatives", 0..=9, defaults.alternatives as u64))
            .unwrap_or(defaults.alternatives),
        caps: Vec::new(),
    };
    section.close();
    settings
}
