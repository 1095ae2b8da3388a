//! Guarded commits on real etcd beside plain transactions of the same size, in turns, one after another.
//!
//! `TMPDIR` says where etcd keeps its data: on a disk that matters, since each write waits for it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use etcd_client::{Client, Txn, TxnOp};
use gust_core::{
    ids::{ReplicaId, StackName, Term},
    ports::{Candidacy, Commit, Store},
    records::Change,
};
use gust_store::{
    EtcdStore,
    conformance::{
        etcd::Servers,
        sample::{commit, job},
    },
    etcd::{
        Config,
        client::{Cluster, Endpoints},
    },
};

/// Turns of each size; the spread of their ratios is the noise.
const TURNS: usize = 12;
/// Writes of each kind in a turn.
const WRITES: usize = 150;
/// Bytes of a record.
const BYTES: usize = 500;

fn puts(term: Term, count: u32) -> Commit {
    let record = |n| {
        let mut record = job(n);
        let empty = Change::PutJob(record.clone()).value().expect("a put").len();
        record
            .facts
            .branch
            .push_str(&"-".repeat(BYTES.saturating_sub(empty)));
        Change::PutJob(record)
    };
    commit(term, (0..count).map(record).collect())
}

/// The same keys with the same values, without any condition.
fn plain(commit: &Commit) -> Txn {
    let changes = commit.merged().into_iter();
    let put = |change: &Change| {
        let value = change.value().expect("a put");
        TxnOp::put(format!("/plain/{}", change.key()), value, None)
    };
    Txn::new().and_then(changes.map(put).collect::<Vec<_>>())
}

/// How long each write of one kind took.
#[derive(Default)]
struct Took(Vec<Duration>);

impl Took {
    fn per_second(&self) -> f64 {
        self.0.len() as f64 / self.0.iter().sum::<Duration>().as_secs_f64()
    }

    fn p99(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted[sorted.len() * 99 / 100].as_secs_f64() * 1e3
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
async fn timed<T>(took: &mut Took, work: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let result = work.await;
    took.0.push(begun.elapsed());
    result
}

async fn lead(store: &EtcdStore) -> Term {
    let lease = store
        .grant(Duration::from_secs(3600))
        .await
        .expect("etcd runs")
        .id;
    match store
        .campaign(lease, &ReplicaId::new("bench"))
        .await
        .expect("etcd runs")
    {
        Candidacy::Elected(term) => term,
        held @ Candidacy::Held { .. } => panic!("nobody else leads, but {held:?}"),
    }
}

#[expect(clippy::print_stdout, reason = "the table is the product")]
async fn measure(members: usize, size: u32, store: &EtcdStore, term: Term, client: &Client) {
    let guarded = puts(term, size);
    let raw = plain(&guarded);
    let (mut all_guarded, mut all_raw) = (Took::default(), Took::default());
    let mut ratios = Vec::new();
    for _ in 0..TURNS {
        let (mut ours, mut theirs) = (Took::default(), Took::default());
        let mut kv = client.kv_client();
        for _ in 0..WRITES {
            timed(&mut theirs, kv.txn(raw.clone())).await.expect("etcd runs");
        }
        for _ in 0..WRITES {
            timed(&mut ours, store.commit(&guarded)).await.expect("it leads");
        }
        ratios.push(ours.per_second() / theirs.per_second());
        all_guarded.0.extend(ours.0);
        all_raw.0.extend(theirs.0);
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "| {members} | {size} | {:.0} | {:.1} ms | {:.0} | {:.1} ms | **{:.2}** ({:.2}–{:.2}) |",
        all_guarded.per_second(),
        all_guarded.p99(),
        all_raw.per_second(),
        all_raw.p99(),
        ratios[TURNS / 2],
        ratios[0],
        ratios[TURNS - 1],
    );
}

#[expect(clippy::print_stdout, reason = "the table is the product")]
fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    println!(
        "| members | records a commit | commits/s | P99 | plain txns/s | P99 | commits ÷ plain (turns) |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | --- |");
    for members in [1, 3] {
        let servers = Servers::start(members);
        runtime.block_on(async {
            let endpoints = Endpoints {
                deadline: Duration::from_secs(10),
                ..Endpoints::new(servers.urls())
            };
            let way = Arc::new(Cluster::new(endpoints).expect("good endpoints"));
            let stack = StackName::new("bench").expect("a good name");
            let store = EtcdStore::new(way, Config::new(stack));
            let term = lead(&store).await;
            // The member that the store asks as well.
            let client = Client::connect([servers.url(0)], None).await.expect("etcd runs");
            for size in [1, 10, 100] {
                measure(members, size, &store, term, &client).await;
            }
        });
    }
}
