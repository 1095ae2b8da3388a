use std::time::Duration;

use gust_core::ids::JobId;
use proptest::prelude::*;

use super::{
    ration::{AT_ONCE, MOST},
    *,
};

const DAY: u64 = 86_400_000;

fn job() -> JobRef {
    JobRef {
        source: "s".into(),
        id: JobId(uuid::Uuid::nil()),
    }
}

fn slot(slots: u32) -> Reason {
    Reason::Slot {
        project: "p".into(),
        slots,
    }
}

/// One of several reasons, steps and others, some of a kind with other figures.
fn reason(which: u8) -> Reason {
    match which % 6 {
        0 => Reason::Cordoned,
        1 => Reason::Paused("q".into()),
        2 => Reason::Replacing("m-1".into()),
        3 => Reason::HeldByBuildkite("limited".to_owned()),
        n => slot(u32::from(n)),
    }
}

impl Notes {
    fn details(&mut self) -> Vec<String> {
        let due = self.take().into_values().flatten();
        due.map(|note| note.detail).collect()
    }
}

#[test]
fn a_change_of_kind_is_told_at_once_and_figures_only_now_and_then() {
    let mut notes = Notes::default();
    notes.reason(&job(), &slot(10), Timestamp(0));
    notes.reason(&job(), &slot(11), Timestamp(59_000));
    assert_eq!(notes.details().len(), 1);
    notes.reason(&job(), &slot(12), Timestamp(60_000));
    notes.reason(&job(), &slot(13), Timestamp(120_000));
    let due = notes.details();
    assert_eq!(due.len(), 1, "{due:?}");
    notes.reason(&job(), &Reason::Cordoned, Timestamp(120_001));
    assert_eq!(notes.details().len(), 1);
}

#[test]
fn many_leaders_in_a_row_leave_room_on_the_timeline() {
    let mut told = 0;
    for term in 0..8 {
        let mut notes = Notes::default();
        notes.inherit(std::iter::once(&job()));
        // Each sees a reason that comes and goes every second for a minute.
        for second in 0..60 {
            let now = Timestamp((term * 60 + second) * 1000);
            notes.reason(&job(), &reason((second % 3) as u8), now);
        }
        let details = notes.details();
        assert!(details.len() >= 5, "each tells how it stands: {details:?}");
        told += details.len();
    }
    assert!(told < MOST as usize, "{told}");
}

#[test]
fn figures_come_after_one_two_five_ten_minutes_and_so_on() {
    let minutes: Vec<u64> = (0..8).map(|n| refresh_after(n).as_secs() / 60).collect();
    assert_eq!(minutes, [1, 2, 5, 10, 20, 50, 100, 200]);
    // A reason that stands with other figures each second, for a day.
    let mut notes = Notes::default();
    let told = (0..86_400).filter(|second| {
        let now = Timestamp(1 + i64::from(*second) * 1000);
        notes.reason(&job(), &slot(*second), now);
        !notes.details().is_empty()
    });
    let minutes: Vec<u32> = told.map(|second| second / 60).collect();
    assert_eq!(minutes, [0, 1, 3, 8, 18, 38, 88, 188, 388, 888]);
}

#[test]
fn what_flaps_is_told_ever_more_seldom_with_the_count_of_what_was_not() {
    let mut notes = Notes::default();
    let mut told = Vec::new();
    for second in 0..7200 {
        notes.reason(&job(), &reason(second as u8 % 2), Timestamp(second * 1000));
        told.extend(notes.details().into_iter().map(|text| (second, text)));
    }
    assert!(told.len() < 2 * AT_ONCE as usize, "{}", told.len());
    let (_, last) = told.last().expect("something is told");
    insta::assert_snapshot!(last, @"waiting: queue q is paused in Buildkite (1919 other changes since the last note)");
}

#[test]
fn a_note_that_was_lost_is_told_again_while_it_is_so_and_not_at_every_pass() {
    for unclear in [true, false] {
        let mut notes = Notes::default();
        let mut tries = Vec::new();
        // A reason that stands, looked at four times a second. For 100 s whatever is sent is lost.
        for quarter in 0..4 * 200 {
            let now = Timestamp(1 + quarter * 250);
            notes.reason(&job(), &slot(10), now);
            for sent in notes.take().into_values().flatten() {
                tries.push(quarter / 4);
                if quarter < 400 {
                    notes.lost(&job().source, &[sent], unclear, now);
                }
            }
        }
        assert_eq!(
            tries,
            [0, 1, 3, 7, 15, 31, 47, 63, 79, 95, 111],
            "unclear: {unclear}"
        );
        assert_eq!(notes.told(&job()).len(), 1, "what was lost was not told");
    }
}

#[test]
fn what_may_have_arrived_is_spent_and_what_did_not_is_not() {
    for (unclear, most) in [(true, MOST / 2), (false, u32::MAX)] {
        let (mut notes, mut tries) = (Notes::default(), 0);
        for second in 0..86_400 {
            let now = Timestamp(1 + second * 1000);
            notes.reason(&job(), &slot(10), now);
            for sent in notes.take().into_values().flatten() {
                tries += 1;
                notes.lost(&job().source, &[sent], unclear, now);
            }
        }
        assert!(
            tries > AT_ONCE && tries <= most,
            "unclear: {unclear}, {tries} tries"
        );
        assert!(unclear || tries > 86_400 / 20, "{tries}");
    }
}

#[test]
fn a_note_that_was_lost_is_not_told_again_once_another_was_told() {
    let mut notes = Notes::default();
    notes.reason(&job(), &slot(10), Timestamp(1000));
    let first: Vec<Notification> = notes.take().into_values().flatten().collect();
    notes.reason(&job(), &Reason::Cordoned, Timestamp(2000));
    assert_eq!(notes.details().len(), 1);
    notes.lost(&job().source, &first, true, Timestamp(3000));
    notes.reason(&job(), &Reason::Cordoned, Timestamp(10_000));
    assert!(notes.details().is_empty());
}

#[test]
fn long_notes_are_cut_at_a_word_and_keep_their_count() {
    let text = crop(&"word ".repeat(100), LONGEST);
    assert!(
        text.chars().count() <= LONGEST && text.ends_with("word…"),
        "{text}"
    );
    let text = with_changes(&"wörd ".repeat(100), 7);
    assert!(
        text.chars().count() <= LONGEST && text.contains("wörd… (7 other changes"),
        "{text}"
    );
}

proptest! {
    /// Whatever flaps, at whatever pace, for as long as Buildkite keeps a job that waits.
    #[test]
    fn no_sequence_of_reasons_uses_up_what_buildkite_takes(
        steps in prop::collection::vec((0..6_u8, 1..DAY), 1..400),
        hurry in prop::bool::ANY,
    ) {
        let (mut notes, mut now, mut sent) = (Notes::default(), Timestamp(1), 0);
        let mut last_kind = None;
        for (which, pause) in steps {
            let pause = if hurry { pause % 1000 + 1 } else { pause };
            if now.0 > 30 * DAY as i64 {
                break;
            }
            notes.reason(&job(), &reason(which), now);
            last_kind = Some(reason(which));
            let due = notes.details();
            prop_assert!(due.iter().all(|text| (1..=LONGEST).contains(&text.chars().count())));
            sent += due.len();
            now = now.after(Duration::from_millis(pause));
        }
        // A reason that stays is told in the end, as what it is.
        if let Some(reason) = last_kind {
            now = now.after(Duration::from_secs(90 * 86_400));
            notes.reason(&job(), &reason, now);
            sent += notes.details().len();
            let told = notes.told(&job());
            let is_told = told.iter().any(|(_, text)| {
                let words: Vec<&str> = text.split(' ').take(2).collect();
                reason.to_string().starts_with(&words.join(" "))
            });
            prop_assert!(is_told, "{} is not in {:?}", reason, told);
        }
        // And there is room for what is told once.
        for n in 0..10 {
            notes.say(&job(), format!("word {n}"), now);
            let due = notes.details();
            prop_assert_eq!(due, vec![format!("word {n}")]);
            sent += 1;
        }
        prop_assert!(sent <= MOST as usize, "{} notes", sent);
    }
}
