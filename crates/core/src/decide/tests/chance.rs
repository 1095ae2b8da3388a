//! Random worlds and random things that happen in them.

use proptest::{
    prelude::{Just, Strategy, any, prop, prop_oneof},
    sample::Index,
};

use super::{events::STOCKOUT, world::World};
use crate::{
    cap::Cap,
    ports::{JobState, RefusalClass},
};

/// The regions of every world.
pub(super) const REGIONS: [&str; 2] = ["r1", "r2"];

/// Machine types with what they use, plans, limits.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    kinds: Vec<(u64, u64, u64)>,
    plans: Vec<Vec<(usize, usize)>>,
    /// Limit and foreign use of: CPUS in both regions, SSD in `r1`, CPUS_ALL_REGIONS.
    limits: [(u64, u64); 4],
    slots: u32,
    per_second: u32,
    singles: usize,
    /// vCPUs that pipeline `two` may use, of one each.
    cap: Option<u64>,
}

pub(super) fn setup() -> impl Strategy<Value = Setup> {
    let kinds = prop::collection::vec((1..4_u64, 0..3_u64, 0..4_u64), 3);
    let plans = prop::collection::vec(prop::collection::vec((0..3_usize, 0..2_usize), 1..4), 3);
    let limits = [(); 4].map(|()| (0..14_u64, 0..4_u64));
    let cap = prop::option::weighted(0.3, 0..5_u64);
    (kinds, plans, limits, 0..3_u32, 1..3_u32, 0..4_usize, cap).prop_map(
        |(kinds, plans, limits, slots, per_second, singles, cap)| Setup {
            kinds,
            plans,
            limits,
            slots,
            per_second,
            singles,
            cap,
        },
    )
}

fn cap(vcpus: u64) -> Cap {
    Cap {
        name: "two".to_owned(),
        pipelines: vec!["tw*".to_owned()],
        vcpus: Some(vcpus),
        micro_usd_per_day: None,
    }
}

impl Setup {
    pub(super) fn world(&self) -> World {
        let mut world = World::default();
        for (at, (cpus, ssd, all)) in self.kinds.iter().enumerate() {
            world.kind(
                &format!("k{at}"),
                &[("CPUS", *cpus), ("SSD", *ssd), ("CPUS_ALL_REGIONS", *all)],
            );
        }
        for (at, choices) in self.plans.iter().enumerate() {
            let mut choices: Vec<_> = choices
                .iter()
                .map(|(kind, region)| (format!("k{kind}"), REGIONS[*region]))
                .collect();
            choices.dedup();
            let choices: Vec<_> = choices
                .iter()
                .map(|(kind, region)| (kind.as_str(), *region))
                .collect();
            world.plan(&format!("p{at}"), &choices);
        }
        let [here, there, ssd, all] = self.limits;
        world.quota("r1", "CPUS", here.0, here.1);
        world.quota("r2", "CPUS", there.0, there.1);
        world.quota("r1", "SSD", ssd.0, ssd.1);
        world.project_quota("CPUS_ALL_REGIONS", all.0 + 4);
        world.settings.bulk_slots = self.slots;
        world.settings.bulk_per_second = self.per_second;
        world.settings.singles = self.singles;
        world.settings.patience = 2;
        world.settings.caps = self.cap.iter().map(|vcpus| cap(*vcpus)).collect();
        world
    }
}

/// What may happen. An index picks among what there is at that moment.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Book {
        plan: usize,
        priority: i64,
        queue: bool,
        listed: bool,
    },
    Pass,
    Settle {
        batch: Index,
        fates: u64,
        class: RefusalClass,
    },
    Claim {
        machine: Index,
        thief: bool,
    },
    Done(Index),
    Gone(Index),
    State(Index, JobState),
    Missing(Index),
    Lost(Index, bool),
    List {
        region: usize,
        shown: u64,
        stopped: u64,
        stranger: bool,
    },
    Wait(u64),
    Pause(bool),
    Cordon {
        region: usize,
        zone: Option<&'static str>,
        on: bool,
        drain: bool,
    },
    Stop(bool),
    NewLeader,
}

pub(super) fn event() -> impl Strategy<Value = Event> {
    let state = prop::sample::select(vec![
        JobState::Scheduled,
        JobState::Scheduled,
        JobState::Reserved,
        JobState::Accepted,
        JobState::Running,
        JobState::Finished,
        JobState::Canceled,
        JobState::Held("limited".into()),
        JobState::Over("expired".into()),
        JobState::Unknown("new".into()),
    ]);
    let class = prop::sample::select(vec![
        STOCKOUT,
        RefusalClass::Stockout {
            zone: Some("r1-a".into()),
        },
        RefusalClass::Quota {
            metric: "CPUS".to_owned(),
            limit: Some(9),
        },
        RefusalClass::Quota {
            metric: "unknown".to_owned(),
            limit: None,
        },
        RefusalClass::Addresses,
        RefusalClass::Rate,
        RefusalClass::Denied,
    ]);
    let index = any::<Index>;
    prop_oneof![
        8 => (0..4_usize, -1..2_i64, prop::bool::weighted(0.2), any::<bool>())
            .prop_map(|(plan, priority, queue, listed)| Event::Book { plan, priority, queue, listed }),
        6 => Just(Event::Pass),
        3 => (index(), any::<u64>(), class)
            .prop_map(|(batch, fates, class)| Event::Settle { batch, fates, class }),
        5 => (index(), prop::bool::weighted(0.1)).prop_map(|(machine, thief)| Event::Claim { machine, thief }),
        2 => index().prop_map(Event::Done),
        3 => index().prop_map(Event::Gone),
        4 => (index(), state).prop_map(|(at, state)| Event::State(at, state)),
        1 => index().prop_map(Event::Missing),
        1 => (index(), any::<bool>()).prop_map(|(at, lost)| Event::Lost(at, lost)),
        2 => (0..2_usize, any::<u64>(), any::<u64>(), any::<bool>())
            .prop_map(|(region, shown, stopped, stranger)| Event::List { region, shown, stopped, stranger }),
        3 => prop::sample::select(vec![1, 15, 30, 100, 200, 310, 4000]).prop_map(Event::Wait),
        1 => any::<bool>().prop_map(Event::Pause),
        1 => (0..2_usize, prop::sample::select(vec![None, Some("a"), Some("b")]), prop::bool::weighted(0.4), any::<bool>())
            .prop_map(|(region, zone, on, drain)| Event::Cordon { region, zone, on, drain }),
        1 => prop::bool::weighted(0.3).prop_map(Event::Stop),
        1 => Just(Event::NewLeader),
    ]
}
