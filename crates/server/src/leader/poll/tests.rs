use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use gust_core::{
    ports::{Finish, FinishOutcome, ListedJob, Reserved, Source, Tokens},
    records::JobFacts,
    time::Timestamp,
};

use super::*;

/// What was asked, and what is answered.
#[derive(Default)]
struct Script {
    begun: Option<Instant>,
    /// When lists were asked for, of which queue, from which cursor.
    lists: Vec<(Duration, String, Option<String>)>,
    /// When states were asked for, and of how many jobs.
    states: Vec<(Duration, usize)>,
    registered: usize,
    probed: usize,
    /// Answers to lists, the first ones first; then empty ones.
    pages: VecDeque<Result<Listing, SourceError>>,
    tokens: VecDeque<Result<bool, SourceError>>,
    /// Notes, call by call.
    notes: Vec<Vec<Notification>>,
    /// What becomes of calls with notes, the first ones first; then they are taken.
    refusals: VecDeque<Remedy>,
    /// Notes from a later moment are rejected.
    clock: Option<Timestamp>,
}

impl Script {
    fn at(&mut self) -> Duration {
        self.begun.get_or_insert_with(Instant::now).elapsed()
    }
}

/// A source that answers as it is told.
#[derive(Default)]
struct Told(Mutex<Script>);

impl Told {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lists(&self) -> Vec<(Duration, String, Option<String>)> {
        self.script().lists.clone()
    }
}

fn gone() -> SourceError {
    SourceError {
        call: "list scheduled jobs",
        remedy: Remedy::Gone,
        message: "404: no such stack".to_owned(),
        source: None,
    }
}

#[async_trait]
impl Source for Told {
    async fn register(&self) -> Result<(), SourceError> {
        self.script().registered += 1;
        Ok(())
    }

    async fn list(&self, queue: &QueueKey, cursor: Option<&str>) -> Result<Listing, SourceError> {
        let mut script = self.script();
        let at = script.at();
        let call = (at, queue.to_string(), cursor.map(str::to_owned));
        script.lists.push(call);
        script.pages.pop_front().unwrap_or_else(|| Ok(Listing::default()))
    }

    async fn reserve(&self, _jobs: &[JobId], _lasting: Duration) -> Result<Reserved, SourceError> {
        Ok(Reserved::default())
    }

    async fn states(&self, jobs: &[JobId]) -> Result<BTreeMap<JobId, JobState>, SourceError> {
        let mut script = self.script();
        let at = script.at();
        script.states.push((at, jobs.len()));
        Ok(BTreeMap::new())
    }

    async fn finish(&self, _job: JobId, _finish: &Finish) -> Result<FinishOutcome, SourceError> {
        Ok(FinishOutcome::Finished)
    }

    async fn notify(&self, notes: &[Notification]) -> Result<Vec<RejectedNote>, SourceError> {
        let mut script = self.script();
        script.notes.push(notes.to_vec());
        if let Some(remedy) = script.refusals.pop_front() {
            return Err(SourceError { remedy, ..gone() });
        }
        let is_ahead = |note: &Notification| {
            script
                .clock
                .is_some_and(|clock| note.at.is_some_and(|at| at > clock))
        };
        let rejected = notes.iter().enumerate().filter(|(_, note)| is_ahead(note));
        Ok(rejected
            .map(|(index, _)| RejectedNote {
                index,
                reason: "timestamp is in the future".to_owned(),
            })
            .collect())
    }

    async fn issues_tokens(&self) -> Result<bool, SourceError> {
        let mut script = self.script();
        script.probed += 1;
        script.tokens.pop_front().unwrap_or(Ok(true))
    }

    async fn acquisition_tokens(&self, _jobs: &[JobId], _lifetime: Duration) -> Result<Tokens, SourceError> {
        Ok(Tokens::default())
    }
}

fn part(source: Arc<Told>, queues: Vec<QueueKey>) -> SourcePart {
    SourcePart {
        name: "s".into(),
        source,
        queues,
        agent_endpoint: String::new(),
        agent_token: None,
        poll: (Duration::from_millis(125), Duration::from_secs(5)),
        retrier: None,
    }
}

struct World {
    told: Arc<Told>,
    inputs: mpsc::Receiver<Input>,
    wakes: Wakes,
    ask: watch::Sender<Ask>,
    tasks: Tasks,
}

impl World {
    /// Polls queues of a source that answers so, at the default pace.
    fn begin(queues: &[&str], script: Script) -> Self {
        let told = Arc::new(Told(Mutex::new(script)));
        let queues: Vec<QueueKey> = queues.iter().map(|key| QueueKey::from(*key)).collect();
        let wakes = Wakes::of(&queues);
        let part = part(told.clone(), queues);
        let (sender, inputs) = mpsc::channel(100_000);
        let (ask, asked) = watch::channel(Ask::default());
        let tasks = Tasks::default();
        let poller = Poller {
            part,
            wakes: wakes.clone(),
            inputs: sender,
            clock: Clock::starting_at(Timestamp(0)),
            dice: Dice::seeded(1),
        };
        tasks.spawn("poll", poller.begin(asked, tasks.clone(), false));
        Self {
            told,
            inputs,
            wakes,
            ask,
            tasks,
        }
    }

    async fn pass(time: Duration) {
        tokio::time::sleep(time).await;
    }
}

fn job(n: u128) -> ListedJob {
    ListedJob {
        id: JobId(uuid::Uuid::from_u128(n)),
        facts: JobFacts {
            queue: QueueKey::from("gust"),
            rules: Vec::new(),
            priority: 0,
            pipeline: String::new(),
            build: 0,
            branch: String::new(),
            step: None,
            runnable_at: Timestamp(0),
        },
    }
}

fn page(jobs: impl IntoIterator<Item = u128>, next: Option<&str>) -> Result<Listing, SourceError> {
    Ok(Listing {
        jobs: jobs.into_iter().map(job).collect(),
        next: next.map(str::to_owned),
        paused: false,
    })
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn an_idle_queue_is_listed_ever_more_seldom_and_a_busy_one_eight_times_a_second() {
    let busy = (0..80).map(|_| page([1], None)).collect();
    let world = World::begin(
        &["gust"],
        Script {
            pages: busy,
            ..Script::default()
        },
    );
    World::pass(10 * SECOND).await;
    let lists = world.told.lists();
    assert!((79..=81).contains(&lists.len()), "{} lists in 10 s", lists.len());
    // Half a minute later it is near the longest pause, and stays there.
    World::pass(40 * SECOND).await;
    let before = world.told.lists().len();
    World::pass(3600 * SECOND).await;
    let hour = world.told.lists().len() - before;
    assert!((719..=721).contains(&hour), "{hour} lists in an hour");
    world.tasks.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_hint_lists_its_queue_at_once_and_many_hints_come_to_one() {
    let world = World::begin(&["gust", "other"], Script::default());
    World::pass(120 * SECOND).await;
    let count = |queue: &str| {
        world
            .told
            .lists()
            .iter()
            .filter(|(_, key, _)| key == queue)
            .count()
    };
    let (before, others) = (count("gust"), count("other"));
    for _ in 0..1000 {
        world.wakes.list(Some(&QueueKey::from("gust")));
        world.wakes.list(Some(&QueueKey::from("a stranger's")));
    }
    World::pass(Duration::from_millis(10)).await;
    assert_eq!((count("gust") - before, count("other") - others), (1, 0));
    // The list may be behind the webhook, so it is looked at often for a while, never more than at the shortest pause.
    World::pass(SECOND).await;
    let more = count("gust") - before;
    assert!((3..=9).contains(&more), "{more}");
    let others = count("other");
    world.wakes.list(None);
    World::pass(Duration::from_millis(10)).await;
    assert_eq!(count("other") - others, 1);
    world.tasks.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_hint_reads_states_at_once_those_of_running_jobs_too() {
    let world = World::begin(&["gust"], Script::default());
    let running = (0..3).map(|n| job(n).id).collect();
    world.ask.send_replace(Ask {
        waiting: Arc::default(),
        running: Arc::new(running),
    });
    World::pass(60 * SECOND + Duration::from_millis(300)).await;
    let read = world.told.script().states.len();
    assert!((12..=14).contains(&read), "{read} reads in a minute");
    let last = world
        .told
        .script()
        .states
        .last()
        .map(|(at, _)| *at)
        .unwrap_or_default();
    world.wakes.states();
    World::pass(SECOND).await;
    let next = world.told.script().states.get(read).copied().expect("one more");
    assert!(
        next.0 - last < 2 * SECOND && next.1 == 3,
        "{next:?} after {last:?}"
    );
    world.tasks.stop().await;
}

#[tokio::test(start_paused = true)]
async fn each_list_begins_at_the_head_and_ends_after_ten_pages_of_a_list_that_never_ends() {
    let pages = (0..25).map(|n| page([n], Some("c"))).collect();
    let mut world = World::begin(
        &["gust"],
        Script {
            pages,
            ..Script::default()
        },
    );
    World::pass(SECOND).await;
    let lists = world.told.lists();
    let heads: Vec<usize> = (0..lists.len()).filter(|n| lists[*n].2.is_none()).collect();
    assert_eq!(heads[..3], [0, 10, 20]);
    let mut listed = Vec::new();
    while let Ok(input) = world.inputs.try_recv() {
        if let Input::Listed { jobs, .. } = input {
            listed.push(jobs.len());
        }
    }
    assert_eq!(
        listed[..3],
        [10, 10, 5],
        "what all pages of a list hold is one picture"
    );
    world.tasks.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stack_that_was_forgotten_is_registered_again() {
    let pages = [Err(gone()), page([1], None)].into();
    let mut world = World::begin(
        &["gust"],
        Script {
            pages,
            ..Script::default()
        },
    );
    World::pass(5 * SECOND).await;
    assert_eq!(world.told.script().registered, 2);
    let mut listed = 0;
    while let Ok(input) = world.inputs.try_recv() {
        listed += usize::from(matches!(input, Input::Listed { jobs, .. } if !jobs.is_empty()));
    }
    assert_eq!(listed, 1);
    world.tasks.stop().await;
}

#[tokio::test(start_paused = true)]
async fn whether_tokens_are_issued_is_asked_once_and_until_it_is_known() {
    let down = SourceError {
        remedy: Remedy::RetryLater(SECOND),
        ..gone()
    };
    let mut world = World::begin(
        &["gust"],
        Script {
            tokens: [Err(down), Ok(false)].into(),
            ..Script::default()
        },
    );
    World::pass(60 * SECOND).await;
    assert_eq!(world.told.script().probed, 2);
    let mut probed = Vec::new();
    while let Ok(input) = world.inputs.try_recv() {
        if let Input::Probed { tokens, .. } = input {
            probed.push(tokens);
        }
    }
    assert_eq!(probed, [false]);
    world.tasks.stop().await;
}

mod notes;
