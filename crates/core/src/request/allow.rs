//! Lists of what may be chosen, and what two of them allow together.

use serde::{Deserialize, Serialize};

use crate::shape::ProvisioningModel;

/// Names a tag may choose from. A `*` in an entry stands for any text: `n2d-*`. Parts with `&` between them must all
/// fit: that is how lists of two levels meet, nobody writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Allow {
    /// Any name.
    #[default]
    Any,
    /// These names and no others; an empty list allows none.
    Only(Vec<String>),
}

impl Allow {
    /// Nothing at all.
    pub const fn none() -> Self {
        Allow::Only(Vec::new())
    }

    /// Whether a name may be chosen.
    pub fn allows(&self, name: &str) -> bool {
        match self {
            Allow::Any => true,
            Allow::Only(patterns) => patterns.iter().any(|pattern| fits(pattern, name)),
        }
    }

    /// The entries, empty for [`Allow::Any`].
    pub fn entries(&self) -> &[String] {
        match self {
            Allow::Any => &[],
            Allow::Only(patterns) => patterns,
        }
    }

    /// What both allow, in the order of the narrower list: a name is in it if it is in both.
    #[must_use]
    pub fn and(&self, narrower: &Allow) -> Allow {
        let (Allow::Only(wide), Allow::Only(narrow)) = (self, narrower) else {
            return match self {
                Allow::Any => narrower.clone(),
                Allow::Only(_) => self.clone(),
            };
        };
        let mut both: Vec<String> = Vec::new();
        for pattern in narrow {
            for met in wide.iter().filter_map(|other| meet(other, pattern)) {
                if !both.contains(&met) {
                    both.push(met);
                }
            }
        }
        Allow::Only(both)
    }
}

/// Whether a name fits a pattern.
pub(super) fn fits(pattern: &str, name: &str) -> bool {
    pattern.split('&').all(|part| matches(part, name))
}

/// Whether a name fits a pattern in which `*` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    let mut rest = rest;
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or(""),
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The pattern of the names that fit both; none where it is plain that no name does.
fn meet(a: &str, b: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in a.split('&').chain(b.split('&')) {
        // The stars of a pattern are letters to another one, and only its stars take them: so it covers the pattern.
        if parts.iter().any(|other| matches(part, other)) {
            continue;
        }
        parts.retain(|other| !matches(other, part));
        parts.push(part);
    }
    let plain = parts.iter().find(|part| !part.contains('*'));
    let apart = |a: &str, b: &str| {
        let (head, tail) = (ends(a), ends(b));
        let heads = head.0.starts_with(tail.0) || tail.0.starts_with(head.0);
        let tails = head.1.ends_with(tail.1) || tail.1.ends_with(head.1);
        !heads || !tails
    };
    let none = match plain {
        Some(plain) => !parts.iter().all(|part| matches(part, plain)),
        None => parts
            .iter()
            .enumerate()
            .any(|(n, a)| parts.iter().skip(n + 1).any(|b| apart(a, b))),
    };
    (!none).then(|| parts.join("&"))
}

/// What a pattern begins and ends with.
fn ends(pattern: &str) -> (&str, &str) {
    let head = pattern.split('*').next().unwrap_or_default();
    (head, pattern.rsplit('*').next().unwrap_or_default())
}

/// Which ways of selling a machine a job may choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Models {
    /// Both.
    #[default]
    Any,
    /// On demand only.
    OnDemand,
    /// Spot only.
    Spot,
}

impl Models {
    /// Whether machines may be made so.
    pub fn allows(self, model: ProvisioningModel) -> bool {
        match self {
            Models::Any => true,
            Models::OnDemand => model == ProvisioningModel::Standard,
            Models::Spot => model == ProvisioningModel::Spot,
        }
    }

    /// What both allow; none if they exclude each other.
    pub fn and(self, narrower: Models) -> Option<Models> {
        match (self, narrower) {
            (Models::Any, other) | (other, Models::Any) => Some(other),
            (one, other) if one == other => Some(one),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn only(names: &[&str]) -> Allow {
        Allow::Only(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name, fits) in [
            ("n2d", "n2d", true),
            ("n2d", "n2d-standard-4", false),
            ("n2d-*", "n2d-standard-4", true),
            ("n2d-*-4", "n2d-standard-4", true),
            ("*-custom-*-4096", "n2d-custom-2-4096", true),
            ("*-custom-*-4096", "n2d-custom-2-8192", false),
            ("*", "", true),
            ("a*a", "a", false),
            ("", "x", false),
        ] {
            assert_eq!(only(&[pattern]).allows(name), fits, "{pattern} {name}");
        }
        assert!(!Allow::none().allows("x"));
    }

    #[test]
    fn what_two_lists_allow_is_written_as_plainly_as_it_can_be() {
        for (wide, narrow, both) in [
            (
                only(&["n2d-*", "e2-*"]),
                only(&["n2d-standard-4"]),
                only(&["n2d-standard-4"]),
            ),
            (
                only(&["n2d-standard-4"]),
                only(&["n2d-*"]),
                only(&["n2d-standard-4"]),
            ),
            (only(&["n2d-*"]), only(&["e2-*"]), Allow::none()),
            (only(&["*-4"]), only(&["*-8"]), Allow::none()),
            (only(&["n2d-*"]), only(&["*-4"]), only(&["n2d-*&*-4"])),
            (
                only(&["n2d-*&*-4"]),
                only(&["n2d-highmem-*"]),
                only(&["*-4&n2d-highmem-*"]),
            ),
            (Allow::Any, only(&["e2"]), only(&["e2"])),
            (only(&["e2"]), Allow::Any, only(&["e2"])),
            (Allow::none(), only(&["e2"]), Allow::none()),
        ] {
            assert_eq!(wide.and(&narrow), both, "{wide:?} and {narrow:?}");
        }
        assert_eq!(Models::OnDemand.and(Models::Spot), None);
        assert_eq!(Models::Any.and(Models::Spot), Some(Models::Spot));
    }

    fn list() -> impl Strategy<Value = Allow> {
        prop_oneof![
            1 => Just(Allow::Any),
            5 => prop::collection::vec("[ab*]{0,5}", 0..4).prop_map(Allow::Only),
        ]
    }

    proptest! {
        #[test]
        fn both_allow_what_each_allows(a in list(), b in list(), c in list(), name in "[ab]{0,6}") {
            let all = a.and(&b).and(&c);
            prop_assert_eq!(
                all.allows(&name),
                a.allows(&name) && b.allows(&name) && c.allows(&name),
                "{:?}", all
            );
        }
    }
}
