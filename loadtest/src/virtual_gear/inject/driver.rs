//! The task that does what is planned and touches the world: builds, acts, and faults of the fakes' models.

use std::{collections::BTreeMap, time::Duration};

use tokio::sync::mpsc;

use super::{
    super::{machine::Attackers, scenario::When},
    Aim, Injector,
    act::Steps,
    state::Item,
    strike::is_immediate,
};

/// Something to be done at a time since the start of the run.
#[derive(Debug)]
pub(super) struct Errand {
    pub at: Duration,
    pub item: Item,
    pub aim: Aim,
}

/// Errands in order of time, and then of arrival.
#[derive(Default)]
struct Calendar {
    errands: BTreeMap<(Duration, u64), (Item, Aim)>,
    count: u64,
}

impl Calendar {
    fn add(&mut self, Errand { at, item, aim }: Errand) {
        self.count += 1;
        self.errands.insert((at, self.count), (item, aim));
    }
}

pub(super) async fn drive(
    injector: Injector,
    attackers: Attackers,
    mut inbox: mpsc::UnboundedReceiver<Errand>,
) {
    let mut calendar = Calendar::default();
    let scenario = &injector.inner.scenario;
    let mut add = |at_ms: u64, item: Item| {
        calendar.add(Errand {
            at: Duration::from_millis(at_ms),
            item,
            aim: Aim::default(),
        });
    };
    for (index, build) in scenario.builds.iter().enumerate() {
        add(build.at_ms, Item::Build(index));
    }
    for (index, act) in scenario.acts.iter().enumerate() {
        if let When::At { at_ms } = act.when {
            add(at_ms, Item::Act(index));
        }
    }
    for (index, fault) in scenario.faults.iter().enumerate() {
        if let When::At { at_ms } = fault.when {
            add(at_ms, Item::Fault(index));
        }
    }
    injector.state().errands_left += calendar.errands.len();
    let mut steps = Steps::default();
    loop {
        let next = calendar.errands.first_key_value().map(|((at, _), _)| *at);
        let due = async {
            match next {
                Some(at) => tokio::time::sleep_until(injector.inner.world.instant(at)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            errand = inbox.recv() => match errand {
                Some(errand) => calendar.add(errand),
                None => return,
            },
            () = due => {
                if let Some((_, (item, aim))) = calendar.errands.pop_first() {
                    injector.state().errands_left -= 1;
                    run(&injector, &attackers, &mut steps, item, &aim);
                }
            }
        }
    }
}

fn run(injector: &Injector, attackers: &Attackers, steps: &mut Steps, item: Item, aim: &Aim) {
    match item {
        Item::Build(index) => injector.build(index, steps),
        Item::Act(index) => injector.act(index, steps, attackers),
        Item::Over(index) => injector.over(index),
        Item::Fault(_) if injector.is_quiet() => {}
        Item::Fault(fault) if is_immediate(injector.what(fault)) => {
            injector.strike(fault, aim);
        }
        Item::Fault(fault) => injector.mishap(fault, aim, attackers),
    }
}
