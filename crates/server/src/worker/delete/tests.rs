use super::*;

const LAG: Duration = Duration::from_secs(20);

fn passed(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

/// A machine that is to be deleted, whose deletion was accepted just now.
fn accepted(name: &MachineName) -> Deletions {
    let deletions = Deletions::default();
    deletions.want(name.clone(), Some(Zone::new("z")), LAG);
    assert_eq!(deletions.take_due(passed(0), 1).len(), 1);
    deletions.set(name, State::Accepted(Instant::now()));
    deletions
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_came_to_be_late_is_not_gone_for_a_list_that_lags() {
    let name = MachineName::new("m-1");
    let nothing = BTreeMap::new();
    let deletions = accepted(&name);
    let unborn = BTreeSet::from([name.clone()]);
    let told = deletions.on_list(passed(60), false, &nothing, &unborn);
    assert_eq!(told, (Vec::new(), Vec::new()), "its creation is under way");
    tokio::time::advance(Duration::from_secs(60)).await;
    deletions.born(std::slice::from_ref(&name));
    let (gone, early) = deletions.on_list(passed(1), false, &nothing, &BTreeSet::new());
    assert_eq!((gone.len(), early.len()), (0, 1), "the list may lag");
    let (gone, _) = deletions.on_list(passed(21), false, &nothing, &BTreeSet::new());
    assert_eq!(gone, [name]);
}

#[tokio::test(start_paused = true)]
async fn no_more_are_on_their_way_out_than_google_takes_at_a_time() {
    let deletions = Deletions::default();
    let names = ["m-1", "m-2", "m-3"].map(MachineName::new);
    for name in &names {
        deletions.want(name.clone(), Some(Zone::new("z")), Duration::ZERO);
    }
    let take = || deletions.take_due(passed(1), 2).len();
    assert_eq!((take(), take()), (2, 0));
    assert_eq!(
        deletions.next_due(2),
        None,
        "nothing is due while there is no room"
    );
    deletions.set(&names[0], State::Accepted(Instant::now()));
    assert_eq!(take(), 0, "what was accepted is still under way");
    // One is refused, to be asked for later, and makes room.
    deletions.set(&names[1], State::Due(passed(60)));
    assert_eq!((take(), take()), (1, 0));
    // A list shows that one is gone.
    let listed = BTreeMap::from([(names[2].clone(), Zone::new("z"))]);
    let (gone, _) = deletions.on_list(passed(30), false, &listed, &BTreeSet::new());
    assert_eq!(gone, names[..1]);
    assert_eq!(deletions.take_due(passed(90), 2).len(), 1);
    deletions.forget(&names[2]);
    deletions.forget(&names[1]);
    assert!(deletions.is_empty());
    assert_eq!(lock(&deletions.inner).busy, 0);
}

#[tokio::test(start_paused = true)]
async fn what_the_cloud_says_has_ended_is_gone_if_we_asked_for_it() {
    let name = MachineName::new("m-1");
    let deletions = accepted(&name);
    deletions.want(MachineName::new("m-2"), Some(Zone::new("z")), LAG);
    let (since, zones) = deletions.accepted().expect("one is on its way out");
    assert_eq!((since, zones), (Instant::now(), BTreeSet::from([Zone::new("z")])));
    let told = ["m-1", "m-2", "m-3"].map(MachineName::new).to_vec();
    assert_eq!(deletions.ended(told.clone()), [name]);
    assert_eq!(deletions.ended(told), []);
    assert_eq!((deletions.count(), deletions.accepted()), (1, None));
}

#[tokio::test(start_paused = true)]
async fn two_lists_that_lack_it_show_the_end_where_lists_have_pages() {
    let name = MachineName::new("m-1");
    let deletions = accepted(&name);
    let list = |at| deletions.on_list(at, true, &BTreeMap::new(), &BTreeSet::new()).0;
    assert!(list(passed(30)).is_empty());
    assert_eq!(list(passed(31)), [name]);
    assert!(deletions.is_empty());
}
