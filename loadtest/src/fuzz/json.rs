//! JSON, changed as JSON: the form stays, so that what reads the values is reached.

use rand::{Rng, seq::IndexedRandom};
use serde_json::{Map, Value, json};

/// Strings that are something else in other hands.
const TEXTS: &[&str] = &[
    "",
    " ",
    "\0",
    "null",
    "0",
    "-1",
    "18446744073709551616",
    "1e999",
    "NaN",
    "a\nb",
    "a=b",
    "=",
    "*",
    "queue=",
    "é𝒳\u{202e}",
    "\u{feff}",
    "9999-12-31T23:59:59.999999999Z",
    "0000-00-00T00:00:00Z",
    "1970-01-01T00:00:00+00:00",
    "2026-06-30T23:59:60Z",
    "-262143-01-01T00:00:00Z",
    "00000000-0000-0000-0000-000000000000",
    "not-a-uuid",
    "http://127.0.0.1:1/a/b/c",
    "projects//zones/",
    "us-central1-a",
    "RUNNING",
    "DONE",
    "SCHEDULED",
    "QUOTA_EXCEEDED",
    "ZONE_RESOURCE_POOL_EXHAUSTED",
    "/",
    "../..",
    "%00%ff%",
];

/// Changes one value somewhere.
pub(super) fn change(value: &mut Value, rng: &mut impl Rng) {
    let donor = pick(value, rng).clone();
    let new = other(rng, donor);
    let at = rng.random_range(0..count(value));
    let place = nth(value, at);
    match rng.random_range(0..10) {
        0..6 => *place = new,
        6 => *place = Value::Array(vec![place.take()]),
        7 => *place = json!({ "a": place.take() }),
        8 => resize(place, new, rng),
        _ => rename(place, rng),
    }
}

/// Another value than there was, of any type.
fn other(rng: &mut impl Rng, donor: Value) -> Value {
    match rng.random_range(0..14) {
        0 => Value::Null,
        1 => rng.random::<bool>().into(),
        2 => rng.random::<i64>().into(),
        3 => rng.random::<u64>().into(),
        4 => (*[0_i64, 1, -1, 1000, 3601, i64::MAX, i64::MIN]
            .choose(rng)
            .unwrap_or(&0))
        .into(),
        5 => json!(
            *[0.5, -0.0, 1e308, 1e-300, 4_294_967_296.5]
                .choose(rng)
                .unwrap_or(&0.5)
        ),
        6..9 => (*TEXTS.choose(rng).unwrap_or(&"")).into(),
        9 => "x\u{e9}".repeat(rng.random_range(1..2000)).into(),
        10 => Value::Array(Vec::new()),
        11 => Value::Object(Map::new()),
        12 => (0..rng.random_range(1..120)).fold(donor, |inner, _| json!([inner])),
        _ => donor,
    }
}

/// Takes something from a list or an object, or adds to it.
fn resize(place: &mut Value, new: Value, rng: &mut impl Rng) {
    match place {
        Value::Array(items) if rng.random() && !items.is_empty() => {
            items.remove(rng.random_range(0..items.len()));
        }
        Value::Array(items) => {
            let times = rng.random_range(1..50);
            items.extend(std::iter::repeat_n(new, times));
        }
        Value::Object(fields) if !fields.is_empty() => {
            let key = fields.keys().nth(rng.random_range(0..fields.len())).cloned();
            fields.shift_remove(&key.unwrap_or_default());
        }
        place => *place = new,
    }
}

/// Gives a field another name.
fn rename(place: &mut Value, rng: &mut impl Rng) {
    if let Value::Object(fields) = place
        && !fields.is_empty()
    {
        let key = fields.keys().nth(rng.random_range(0..fields.len())).cloned();
        let value = fields.shift_remove(&key.unwrap_or_default()).unwrap_or_default();
        fields.insert((*TEXTS.choose(rng).unwrap_or(&"")).to_owned(), value);
    }
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

fn pick<'v>(value: &'v Value, rng: &mut impl Rng) -> &'v Value {
    match value {
        Value::Array(items) if rng.random_range(0..3) > 0 => {
            items.choose(rng).map_or(value, |item| pick(item, rng))
        }
        Value::Object(fields) if rng.random_range(0..3) > 0 && !fields.is_empty() => {
            let at = rng.random_range(0..fields.len());
            fields.values().nth(at).map_or(value, |field| pick(field, rng))
        }
        _ => value,
    }
}

/// The value of that number, counted from the root down.
fn nth(value: &mut Value, at: usize) -> &mut Value {
    if at == 0 {
        return value;
    }
    let mut left = at - 1;
    let children: Vec<&mut Value> = match value {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(fields) => fields.values_mut().collect(),
        _ => unreachable!("`count` counts children of lists and objects only"),
    };
    for child in children {
        let size = count(child);
        if left < size {
            return nth(child, left);
        }
        left -= size;
    }
    unreachable!("`at` is below `count`")
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn each_value_has_its_number() {
        let mut value = json!({"a": [1, {"b": 2}], "c": 3});
        let seen: Vec<Value> = (0..count(&value)).map(|at| nth(&mut value, at).clone()).collect();
        let expected = [
            json!({"a": [1, {"b": 2}], "c": 3}),
            json!([1, {"b": 2}]),
            json!(1),
            json!({"b": 2}),
            json!(2),
            json!(3),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn changes_are_the_same_for_the_same_seed() {
        let changed = |seed| {
            let mut value = json!({"jobs": [{"id": "x", "priority": 0}], "next": null});
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            (0..20).for_each(|_| change(&mut value, &mut rng));
            value
        };
        assert_eq!(changed(1), changed(1));
        assert_ne!(changed(1), changed(2));
    }
}
