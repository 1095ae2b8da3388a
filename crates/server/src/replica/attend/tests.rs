//! The links here part as they are told to; time is paused.

use std::{collections::VecDeque, sync::Mutex};

use async_trait::async_trait;
use gust_core::{
    ports::{
        Hello, Link, LinkError,
        Parting::{self, Broke, Refused, Silent},
        Session,
    },
    time::Timestamp,
};
use tokio::time::Instant;

use super::*;
use crate::{task::Tasks, testing::ToldStore};

/// After so long a connection ends so; after the last of them one lasts for ever.
type Script = VecDeque<(Duration, Parting)>;

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Script>>);

impl Links for Told {
    fn to(&self, member: &Member) -> Arc<dyn Link> {
        Arc::new(ToldLink(member.replica.clone(), self.clone()))
    }
}

struct ToldLink(ReplicaId, Told);

#[async_trait]
impl Link for ToldLink {
    fn worker(&self) -> &ReplicaId {
        &self.0
    }

    async fn open(&self, _hello: &Hello) -> Result<Session, LinkError> {
        let worker = self.0.clone();
        Err(LinkError::Late { worker })
    }

    async fn attend(&self) -> Parting {
        let next = self.1.0.lock().unwrap().pop_front();
        let Some((after, parting)) = next else {
            return std::future::pending().await;
        };
        tokio::time::sleep(after).await;
        parting
    }
}

/// When which term's lease was ended, while `a` leads in the terms 1, 2, 3 … for `lasting` each.
async fn deposed(lasting: &[u64], partings: Vec<(u64, Parting)>) -> Vec<(Term, Duration)> {
    let store = Arc::new(ToldStore::default());
    let leader = ReplicaId::new("a");
    let member = Member {
        replica: leader.clone(),
        zone: String::new(),
        address: String::new(),
        version: "1".to_owned(),
        config: "c".to_owned(),
    };
    store.members.lock().unwrap().insert(leader.clone(), member);
    let partings = partings.into_iter();
    let script = partings.map(|(after, parting)| (Duration::from_millis(after), parting));
    let leadership = watch::Sender::new(Leadership::Unknown);
    let attendant = Attendant {
        store: store.clone(),
        links: Arc::new(Told(Arc::new(Mutex::new(script.collect())))),
        clock: Clock::starting_at(Timestamp(0)),
        dice: Dice::seeded(1),
        timing: Timing::default(),
        leadership: leadership.subscribe(),
    };
    let (tasks, start) = (Tasks::default(), Instant::now());
    tasks.spawn("attend", attendant.stay());
    for (nth, lasting) in lasting.iter().enumerate() {
        let term = Term(nth as u64 + 1);
        let leader = leader.clone();
        leadership.send_replace(Leadership::Following { leader, term });
        tokio::time::sleep(Duration::from_millis(*lasting)).await;
    }
    tasks.stop().await;
    let deposed = store.deposed.lock().unwrap();
    deposed.iter().map(|(term, at)| (*term, *at - start)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_process_died_is_deposed_at_once() {
    let deposed = deposed(&[10_000], vec![(3000, Broke), (0, Refused)]).await;
    let [(term, at)] = &deposed[..] else {
        panic!("once, not {deposed:?}");
    };
    assert_eq!(*term, Term(1));
    assert!(*at < Duration::from_millis(3100), "{at:?}");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_slow_or_was_never_met_is_left_to_its_lease() {
    let slow = || (2000, Silent("no answer in time".to_owned()));
    let partings = vec![(3000, Broke), slow(), slow(), slow()];
    assert_eq!(deposed(&[30_000], partings).await, []);
    assert_eq!(deposed(&[30_000], vec![(0, Refused); 9]).await, []);
}

#[tokio::test(start_paused = true)]
async fn leaders_are_deposed_once_a_minute_at_most() {
    // The second one is as dead as the first, and its lease has not lapsed when a minute is over.
    let dead = [(1000, Broke), (0, Refused)];
    let mut partings = dead.to_vec();
    partings.push((1000, Broke));
    partings.extend(vec![(0, Refused); 60]);
    let deposed = deposed(&[2000, 120_000], partings).await;
    let terms: Vec<Term> = deposed.iter().map(|(term, _)| *term).collect();
    assert_eq!(terms, [Term(1), Term(2)]);
    assert!(
        deposed[1].1 - deposed[0].1 >= Duration::from_secs(60),
        "{deposed:?}"
    );
}
