//! Notes on their way to Buildkite.

use super::*;

fn note(n: u128, at: Timestamp) -> Notification {
    Notification {
        job: job(n).id,
        detail: "placed".to_owned(),
        at: Some(at),
    }
}

#[tokio::test(start_paused = true)]
async fn notes_that_come_together_share_calls_of_a_thousand() {
    let told = Arc::new(Told::default());
    let tasks = Tasks::default();
    let (sink, notes) = mpsc::unbounded_channel();
    let (inputs, _heard) = mpsc::channel(8);
    tasks.spawn("notify", notify(part(told.clone(), Vec::new()), notes, inputs));
    for n in 0..2500 {
        sink.send(vec![note(n, Timestamp(1))]).expect("it is there");
    }
    World::pass(SECOND).await;
    let calls: Vec<usize> = told.script().notes.iter().map(Vec::len).collect();
    assert_eq!(calls, [1000, 1000, 500]);
    tasks.stop().await;
}

#[tokio::test(start_paused = true)]
async fn where_our_clock_is_ahead_buildkite_takes_the_note_at_its_own_time() {
    let ten_minutes = Timestamp(0).after(600 * SECOND);
    let told = Arc::new(Told(Mutex::new(Script {
        clock: Some(Timestamp(0)),
        ..Script::default()
    })));
    let tasks = Tasks::default();
    let (sink, notes) = mpsc::unbounded_channel();
    let (inputs, _heard) = mpsc::channel(8);
    tasks.spawn("notify", notify(part(told.clone(), Vec::new()), notes, inputs));
    sink.send(vec![note(1, Timestamp(0)), note(2, ten_minutes)])
        .expect("it is there");
    World::pass(SECOND).await;
    let again = Notification {
        at: None,
        ..note(2, ten_minutes)
    };
    assert_eq!(told.script().notes[1..], [vec![again]]);
    tasks.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_leader_hears_of_notes_that_are_lost_and_of_no_others() {
    let told = Arc::new(Told(Mutex::new(Script {
        refusals: [Remedy::Unclear, Remedy::Refused, Remedy::RetryLater(SECOND)].into(),
        ..Script::default()
    })));
    let tasks = Tasks::default();
    let (sink, notes) = mpsc::unbounded_channel();
    let (inputs, mut heard) = mpsc::channel(8);
    tasks.spawn("notify", notify(part(told.clone(), Vec::new()), notes, inputs));
    for n in 1..=4 {
        sink.send(vec![note(n, Timestamp(1))]).expect("it is there");
        World::pass(SECOND).await;
    }
    let mut lost = Vec::new();
    while let Ok(Input::NotTold { notes, unclear, .. }) = heard.try_recv() {
        lost.push((notes, unclear));
    }
    let expected = [(1, true), (3, false)].map(|(n, unclear)| (vec![note(n, Timestamp(1))], unclear));
    assert_eq!(lost, expected);
    tasks.stop().await;
}
