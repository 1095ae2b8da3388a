//! Request ids, and how long what they started is remembered.

use std::collections::BTreeMap;

use super::*;

const ZONE: &str = "us-central1-a";
const ID: &str = "5f0c6f0e-0000-4000-8000-00000000000a";

/// A world with one machine `a` that is up.
fn world_with_a() -> World {
    let mut world = World::demo();
    insert(&mut world, "a", None).unwrap();
    world.pass(60.0);
    world
}

fn insert(world: &mut World, name: &str, request_id: Option<&str>) -> Result<Operation, ApiError> {
    let one = single(name, ZONE, template("e2-standard-2"));
    world.call(|model, call| model.insert(call, DEFAULT_PROJECT, ZONE, request_id, one))
}

fn set_labels(
    world: &mut World,
    request_id: Option<&str>,
    fingerprint: &str,
    value: &str,
) -> Result<Operation, ApiError> {
    let labels = BTreeMap::from([("k".to_owned(), value.to_owned())]);
    world.call(|model, call| model.set_labels(call, at(ZONE, "a"), request_id, fingerprint, labels))
}

#[test]
fn a_repeat_of_set_labels_and_set_metadata_gives_the_first_operation() {
    let mut world = world_with_a();
    let shown = world.named("a");
    let fingerprint = crate::gce::show::fingerprint(shown.label_fingerprint);
    let first = set_labels(&mut world, Some(ID), &fingerprint, "v").unwrap();
    assert_eq!(first.request_id.as_deref(), Some(ID), "it is echoed");
    let again = set_labels(&mut world, Some(ID), &fingerprint, "v").unwrap();
    assert_eq!(again.name, first.name, "although the fingerprint is stale by now");
    let other = set_labels(&mut world, Some(ID), &fingerprint, "w").unwrap_err();
    assert_eq!((other.status, other.reason), (409, "conflict"));

    let id = "5f0c6f0e-0000-4000-8000-00000000000b";
    let fingerprint = crate::gce::show::fingerprint(shown.metadata_fingerprint);
    let set = |world: &mut World| {
        let items = [("k".to_owned(), "v".to_owned())].into_iter().collect();
        world
            .call(|model, call| model.set_metadata(call, at(ZONE, "a"), Some(id), &fingerprint, items))
            .unwrap()
    };
    let first = set(&mut world);
    assert_eq!(first.request_id.as_deref(), Some(id));
    assert_eq!(set(&mut world).name, first.name);
}

#[test]
fn a_request_id_is_a_uuid_of_36_characters_in_either_case() {
    let mut world = world_with_a();
    for bad in [
        "00000000-0000-0000-0000-000000000000",
        "5f0c6f0e00004000800000000000000a",
        "{5f0c6f0e-0000-4000-8000-00000000000a}",
        "urn:uuid:5f0c6f0e-0000-4000-8000-00000000000a",
        "no uuid at all",
    ] {
        let inserted = insert(&mut world, "b", Some(bad)).unwrap_err();
        assert_eq!((inserted.status, inserted.reason), (400, "invalid"), "{bad}");
        assert_eq!(
            set_labels(&mut world, Some(bad), "", "v").unwrap_err().status,
            400
        );
    }
    let first = insert(&mut world, "b", Some(ID)).unwrap();
    let again = insert(&mut world, "b", Some(&ID.to_uppercase())).unwrap();
    assert_eq!(again.name, first.name);
}

#[test]
fn the_retention_holds_although_nothing_is_due() {
    let mut world = world_with_a();
    let operation = insert(&mut world, "b", Some(ID)).unwrap();
    world.pass(60.0);
    let read = |world: &mut World| {
        let (place, name) = (Place::Zone(ZONE), &*operation.name);
        world.call(|model, call| model.get_operation(call, DEFAULT_PROJECT, place, name))
    };
    assert!(done(&read(&mut world).unwrap()));
    // No tick: an idle fake is woken by nothing.
    let retention = world.model.limits().operations.retention_s;
    world.at += Duration::from_secs_f64(retention);
    let listed = world.call(|model, call| {
        model.list_operations(call, DEFAULT_PROJECT, Place::Zone(ZONE), Query::default())
    });
    assert_eq!(listed.unwrap().items, []);
    assert_eq!(read(&mut world).unwrap_err().status, 404);
}

#[test]
fn a_request_id_is_forgotten_with_its_operation() {
    let mut world = world_with_a();
    let first = insert(&mut world, "b", Some(ID)).unwrap();
    world.pass(60.0);
    world
        .call(|model, call| model.delete_operation(call, DEFAULT_PROJECT, Place::Zone(ZONE), &first.name))
        .unwrap();
    let again = insert(&mut world, "b", Some(ID)).unwrap_err();
    assert_eq!(
        (again.status, again.reason),
        (409, "alreadyExists"),
        "a new request, for a name that is taken"
    );
}
