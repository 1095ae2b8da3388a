//! What the operator closed stays closed, and is told only while it is.

use gust_core::records::{Call, Cordon, Order, Orders, Place};
use serde_json::Value;

use super::{
    super::Invariant,
    world::{Tale, shape},
};

fn order() -> Order {
    Order {
        by: "ann".to_owned(),
        at: gust_core::time::Timestamp(1),
        note: String::new(),
    }
}

fn record(orders: &Orders) -> (String, Value) {
    let value = serde_json::to_value(orders).expect("orders have a JSON form");
    (format!("operator/{}", Orders::NAME), value)
}

fn closed(place: Place) -> Orders {
    let mut orders = Orders::default();
    orders.cordon(Cordon {
        place,
        drain: false,
        order: order(),
    });
    orders
}

/// Whether a batch that is recorded after these orders is said to break them. That the tale ends too early is not asked.
fn is_broken(orders: &[Orders]) -> bool {
    let mut tale = Tale::begin();
    tale.booked(1, 0);
    for orders in orders {
        tale.commit(&[record(orders)]);
    }
    tale.intended(&[(1, 1)], Call::Bulk);
    let violation = tale.history.play().violation;
    violation.is_some_and(|violation| violation.invariant == Invariant::Orders)
}

#[test]
fn a_batch_that_an_order_forbids_is_a_violation() {
    let shape = shape();
    let paused = Orders {
        paused: Some(order()),
        ..Orders::default()
    };
    let zone = shape.zones[0].clone();
    for orders in [
        paused,
        closed(Place::Shard(shape.shard())),
        closed(Place::Zone(zone)),
    ] {
        assert!(is_broken(std::slice::from_ref(&orders)), "{orders:?}");
        assert!(!is_broken(&[orders, Orders::default()]), "taken back");
    }
    let elsewhere = closed(Place::Zone("nowhere-a".into()));
    assert!(!is_broken(&[elsewhere]));
}
