//! Records a second that the embedded store makes durable, by size of the commit and by how many commits
//! wait at the same time (they share an fsync).

use std::{hint::black_box, sync::Arc, time::Duration};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gust_core::{
    ids::{ReplicaId, StackName, Term},
    ports::{Candidacy, Commit, Store},
    records::Change,
};
use gust_store::{
    EmbeddedStore,
    conformance::sample::{commit, job},
    embedded::Config,
};
use tokio::{runtime::Runtime, task::JoinSet};

struct Setup {
    runtime: Runtime,
    store: Arc<EmbeddedStore>,
    term: Term,
    // Deleted when the benchmark is over.
    _dir: tempfile::TempDir,
}

/// On the disk that holds the target directory: a temporary directory is often in memory, where fsync is free.
fn setup() -> Setup {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a writable directory");
    let stack = StackName::new("bench").expect("a good name");
    let config = Config::new(dir.path().join("store.redb"), stack);
    let runtime = Runtime::new().expect("threads");
    let store = runtime
        .block_on(EmbeddedStore::open(config, None))
        .expect("a new store");
    let term = runtime.block_on(async {
        let lease = store
            .grant(Duration::from_secs(5))
            .await
            .expect("the store works");
        let candidacy = store.campaign(lease.id, &ReplicaId::new("bench")).await;
        match candidacy.expect("the store works") {
            Candidacy::Elected(term) => term,
            held @ Candidacy::Held { .. } => panic!("nobody else leads, but {held:?}"),
        }
    });
    Setup {
        runtime,
        store: Arc::new(store),
        term,
        _dir: dir,
    }
}

fn puts(term: Term, first: u32, count: u32) -> Commit {
    commit(
        term,
        (first..first + count).map(|n| Change::PutJob(job(n))).collect(),
    )
}

fn one_after_another(c: &mut Criterion) {
    let setup = setup();
    let mut group = c.benchmark_group("records_per_commit");
    for size in [1, 100, 1000] {
        let value = puts(setup.term, 0, size);
        group.throughput(Throughput::Elements(size.into()));
        group.bench_with_input(BenchmarkId::from_parameter(size), &value, |b, value| {
            b.iter(|| {
                let revision = setup.runtime.block_on(setup.store.commit(value));
                black_box(revision.expect("the store works"))
            });
        });
    }
    group.finish();
}

fn together(c: &mut Criterion) {
    let setup = setup();
    let mut group = c.benchmark_group("commits_at_the_same_time");
    for waiting in [1_u32, 16, 256] {
        let commits: Vec<_> = (0..waiting).map(|n| Arc::new(puts(setup.term, n, 1))).collect();
        group.throughput(Throughput::Elements(waiting.into()));
        group.bench_with_input(BenchmarkId::from_parameter(waiting), &commits, |b, commits| {
            b.iter(|| {
                setup.runtime.block_on(async {
                    let mut tasks = JoinSet::new();
                    for commit in commits {
                        let (store, commit) = (Arc::clone(&setup.store), Arc::clone(commit));
                        tasks.spawn(async move { store.commit(&commit).await.expect("the store works") });
                    }
                    black_box(tasks.join_all().await)
                })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, one_after_another, together);
criterion_main!(benches);
