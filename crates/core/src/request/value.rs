//! Reading the value of one tag. Each reader says what it expects and, if it can guess, the nearest value
//! that would have been read.

use super::nearest;
use super::types::{Backend, Gpu, Spot};
use super::units::{Cpus, Gib, Mib, Range};
use crate::shape::Arch;

/// Why a value cannot be read.
#[derive(Debug)]
pub(super) struct Wrong {
    pub expected: &'static str,
    pub nearest: Option<String>,
}

type Read<T> = Result<T, Wrong>;

/// More vCPUs than any machine will have for some time; beyond lies a typing error.
const MOST_CPUS: u32 = 10_000;
/// More memory than any machine will have for some time, in MiB.
const MOST_MEMORY_MIB: u64 = 1 << 30;
/// The smallest boot disk: images do not fit on less.
const LEAST_DISK_GIB: u64 = 10;
/// The largest disk Google makes.
const MOST_DISK_GIB: u64 = 65_536;
/// Google's bounds for the longest run, in seconds: 30 s to 120 days.
pub(super) const RUN_BOUNDS_S: (u64, u64) = (30, 120 * 86_400);

const CPU: &str = "a whole number of vCPUs (`8`), a range (`8+16`) or a least number (`8+`)";
const MEMORY: &str = "GiB (`64`, `7.5`, `64Gi`) or MiB (`65536Mi`), alone or as a range (`64+128`)";
const DISK: &str = "whole GiB from 10 to 65536 (`100`, `100Gi`, `1Ti`)";
const LOCAL_SSD: &str = "a number of disks of 375 GiB each, from 0 to 64 (`1`)";
const RUN: &str = "a time from 30s to 120d with its unit (`45m`, `2h`, `1h30m`)";

pub(super) fn cpu(text: &str) -> Read<Range<Cpus>> {
    let one = |part: &str| match part.parse::<u32>() {
        Ok(n) if (1..=MOST_CPUS).contains(&n) => Some(Cpus(n)),
        _ => None,
    };
    range(text, one)
        .map(|r| {
            if text.ends_with('+') {
                r
            } else {
                Range {
                    max: r.max.or(Some(r.min)),
                    ..r
                }
            }
        })
        .ok_or_else(|| {
            let guess = leading_number(text).map(|n| (n.ceil() as u32).clamp(1, MOST_CPUS).to_string());
            Wrong {
                expected: CPU,
                nearest: reversed(text, one).or(guess),
            }
        })
}

pub(super) fn memory(text: &str) -> Read<Range<Mib>> {
    let one = |part: &str| {
        size_mib(part, 1024)
            .filter(|m| (1..=MOST_MEMORY_MIB).contains(m))
            .map(Mib)
    };
    range(text, one).ok_or_else(|| {
        let guess = leading_number(text).map(|n| Mib::gib((n.ceil() as u64).clamp(1, 1 << 20)).to_string());
        Wrong {
            expected: MEMORY,
            nearest: reversed(text, one).or(guess),
        }
    })
}

pub(super) fn disk(text: &str) -> Read<Gib> {
    let gib = size_mib(text, 1024).map(|mib| mib.div_ceil(1024));
    match gib {
        Some(gib) if (LEAST_DISK_GIB..=MOST_DISK_GIB).contains(&gib) => Ok(Gib(gib)),
        _ => {
            let guess = gib.or_else(|| leading_number(text).map(|n| n.ceil() as u64));
            let nearest = guess.map(|g| g.clamp(LEAST_DISK_GIB, MOST_DISK_GIB).to_string());
            Err(Wrong {
                expected: DISK,
                nearest,
            })
        }
    }
}

pub(super) fn local_ssd(text: &str) -> Read<u32> {
    match text.parse::<u32>() {
        Ok(n) if n <= 64 => Ok(n),
        _ => {
            // Someone who writes 375 or 750Gi thinks in sizes.
            let gib = size_mib(text, 1024).map(|mib| mib.div_ceil(1024));
            let nearest = gib.map(|gib| gib.div_ceil(375).clamp(1, 64).to_string());
            let flag = matches!(text.to_ascii_lowercase().as_str(), "true" | "yes" | "on");
            Err(Wrong {
                expected: LOCAL_SSD,
                nearest: nearest.or(flag.then(|| "1".to_owned())),
            })
        }
    }
}

pub(super) fn arch(text: &str) -> Read<Arch> {
    match text.to_ascii_lowercase().as_str() {
        "amd64" | "x86_64" | "x86-64" | "x64" => Ok(Arch::Amd64),
        "arm64" | "aarch64" => Ok(Arch::Arm64),
        other => {
            let known = ["amd64", "arm64", "x86_64", "aarch64"];
            let guess = nearest::name(other, known).or(match other {
                "x86" | "intel" | "amd" => Some("amd64"),
                "arm" | "armv8" | "axion" => Some("arm64"),
                _ => None,
            });
            Err(Wrong {
                expected: "`amd64` (or `x86_64`) or `arm64` (or `aarch64`)",
                nearest: guess.map(str::to_owned),
            })
        }
    }
}

pub(super) fn spot(text: &str) -> Read<Spot> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(Spot::Only),
        "false" => Ok(Spot::Never),
        "prefer" => Ok(Spot::Prefer),
        other => {
            let guess = match other {
                "yes" | "on" | "1" | "only" | "always" => Some("true"),
                "no" | "off" | "0" | "never" | "none" => Some("false"),
                "maybe" | "try" | "auto" => Some("prefer"),
                _ => nearest::name(other, ["true", "false", "prefer"]),
            };
            Err(Wrong {
                expected: "`true`, `false` or `prefer`",
                nearest: guess.map(str::to_owned),
            })
        }
    }
}

pub(super) fn gpu(text: &str) -> Read<Option<Gpu>> {
    let expected = "a type with a number (`nvidia-l4:1`), or `none`";
    if matches!(text, "0" | "none" | "false") {
        return Ok(None);
    }
    let (kind, count) = text.split_once(':').unwrap_or((text, "1"));
    match (is_name(kind), count.parse::<u32>()) {
        (true, Ok(count)) if (1..=16).contains(&count) && kind.parse::<u32>().is_err() => Ok(Some(Gpu {
            kind: kind.to_owned(),
            count,
        })),
        _ => Err(Wrong {
            expected,
            nearest: None,
        }),
    }
}

pub(super) fn backend(text: &str) -> Read<Backend> {
    Backend::ALL
        .into_iter()
        .find(|b| b.as_str() == text)
        .ok_or_else(|| Wrong {
            expected: "`gce`",
            nearest: Some(Backend::Gce.as_str().to_owned()),
        })
}

pub(super) fn os(text: &str) -> Read<()> {
    if text == "linux" {
        Ok(())
    } else {
        Err(Wrong {
            expected: "`linux`",
            nearest: Some("linux".to_owned()),
        })
    }
}

/// Seconds.
pub(super) fn max_run(text: &str) -> Read<u64> {
    let (least, most) = RUN_BOUNDS_S;
    match seconds(text) {
        Some(s) if (least..=most).contains(&s) => Ok(s),
        Some(s) => Err(Wrong {
            expected: RUN,
            nearest: Some(run_text(s.clamp(least, most))),
        }),
        // A bare number is most likely minutes, as in Buildkite's timeout_in_minutes.
        None => {
            let minutes = text
                .parse::<u64>()
                .ok()
                .map(|m| run_text((m.min(1 << 40) * 60).clamp(least, most)));
            Err(Wrong {
                expected: RUN,
                nearest: minutes,
            })
        }
    }
}

/// `5400` → `1h30m`.
pub(super) fn run_text(seconds: u64) -> String {
    if seconds > 0 && seconds.is_multiple_of(86_400) {
        return format!("{}d", seconds / 86_400);
    }
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let part = |n: u64, unit: char| {
        if n == 0 {
            String::new()
        } else {
            format!("{n}{unit}")
        }
    };
    let text = part(h, 'h') + &part(m, 'm') + &part(s, 's');
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Names separated by `|`, each in lower case, sorted, each once.
pub(super) fn names(text: &str) -> Read<Vec<String>> {
    let mut list: Vec<String> = text
        .split('|')
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| !name.is_empty())
        .collect();
    if list.is_empty() || list.len() > 32 || !list.iter().all(|name| is_name(name)) {
        let nearest: Vec<String> = text
            .split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_')))
            .filter(|part| is_name(&part.to_ascii_lowercase()))
            .map(str::to_ascii_lowercase)
            .take(32)
            .collect();
        let nearest = (!nearest.is_empty()).then(|| nearest.join("|"));
        return Err(Wrong {
            expected: "one name, or several with `|` between them",
            nearest,
        });
    }
    list.sort();
    list.dedup();
    Ok(list)
}

/// One name of something of Google's: image, service account, cache.
pub(super) fn reference(text: &str) -> Read<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | '@');
    if text.len() <= 256 && text.chars().all(fits) {
        Ok(text.to_owned())
    } else {
        let expected = "at most 256 letters, digits and `-_./:@`";
        Err(Wrong {
            expected,
            nearest: None,
        })
    }
}

fn is_name(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
}

/// `8`, `8+16` or `8+`; ascending.
fn range<T: Copy + Ord>(text: &str, one: impl Fn(&str) -> Option<T>) -> Option<Range<T>> {
    match text.split_once('+') {
        None => Some(Range {
            min: one(text)?,
            max: None,
        }),
        Some((min, "")) => Some(Range {
            min: one(min.trim())?,
            max: None,
        }),
        Some((min, max)) => {
            let (min, max) = (one(min.trim())?, one(max.trim())?);
            (min <= max).then_some(Range { min, max: Some(max) })
        }
    }
}

/// The range the other way round, if that is all that is wrong with it.
fn reversed<T: Copy + Ord>(text: &str, one: impl Fn(&str) -> Option<T>) -> Option<String> {
    let (a, b) = text.split_once('+').or_else(|| text.split_once('-'))?;
    let turned = [format!("{a}+{b}"), format!("{b}+{a}")];
    turned
        .into_iter()
        .find(|text| range(text, &one).is_some_and(|r| r.max.is_some()))
}

/// A size in MiB. A bare number counts in `unit_mib`. Parts of a MiB are rounded up. The SI spellings (`64G`,
/// `64GB`) mean GiB too: nobody who writes them means 59.6 GiB.
fn size_mib(text: &str, unit_mib: u64) -> Option<u64> {
    let split = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" => unit_mib,
        "m" | "mi" | "mb" | "mib" => 1,
        "g" | "gi" | "gb" | "gib" => 1024,
        "t" | "ti" | "tb" | "tib" => 1024 * 1024,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty()
        || whole.len() > 9
        || fraction.is_empty()
        || fraction.len() > 3
        || fraction.contains('.')
    {
        return None;
    }
    let thousandths: u64 =
        whole.parse::<u64>().ok()? * 1000 + format!("{fraction:0<3}").parse::<u64>().ok()?;
    Some((thousandths * factor).div_ceil(1000))
}

fn leading_number(text: &str) -> Option<f64> {
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

fn seconds(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(end);
        let unit = match tail.chars().next()? {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
        rest = tail.get(1..)?;
    }
    (!text.is_empty()).then_some(total)
}
