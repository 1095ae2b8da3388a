//! What people write, and what the store keeps.

use std::{io, path::Path};

use gust_core::{
    catalog::Catalog,
    records::{Book, Change, Format, Orders},
    request::{Policy, Request},
};
use gust_server::{
    config::{Config, Surroundings},
    planner::{Asker, Planner},
};
use gust_store::conformance::sample;

use super::{Make, Target};

pub(super) const ALL: &[Make] = &[tags, plans, catalog, configuration, lint, records];

const TAGS: &[&str] = &[
    "queue=gust\ncpu=8\nmemory=32\ndisk=100",
    "cpu=16-32\nmemory=64-\nfamily=n2d|c3d\nspot=prefer\nregion=us-central1,us-east4",
    "queue=gust\ncpu=8\narch=arm64\nssd=2\ngpu=nvidia-l4:1\nzone=us-central1-a\nmax-run=2h\nimage=debian-12",
    "cpu=sixteen\nmemori=64\ncpu=4\ncpu=8\n=\n=x\ncpu=\ncpu=*",
    "machine-type=n2d-standard-16\nspot=only\ndisk-type=pd-ssd\nmemory=1.5TiB",
];

fn rules(text: &str) -> Vec<String> {
    text.split('\n').map(str::to_owned).collect()
}

fn tags() -> Target {
    let policy = Policy::default();
    Target::of_text("tags", TAGS.to_vec(), move |text| {
        match Request::parse(&rules(text), &policy) {
            Ok(request) => {
                // What is written of it is read again.
                let again = Request::parse(&request.to_rules(&policy.tag_prefix), &policy);
                assert_eq!(again.as_ref().ok(), Some(&request), "{:?}", request.canonical());
                true
            }
            Err(error) => {
                let _ = (error.render(), error.short(), error.code());
                false
            }
        }
    })
}

fn plans() -> Target {
    let planner = Planner::anywhere().expect("the catalog is a good one");
    Target::of_text("tags: machines", TAGS.to_vec(), move |text| {
        let asker = Asker {
            queue: "gust",
            pipeline: "",
        };
        planner.explain(asker, &rules(text)).is_ok()
    })
}

const PRICES: &[&str] = &[
    "[family.n2d]\nquota = \"N2D_CPUS\"\n",
    "[family.n2d.price.us-central1]\ncpu = 0.02\nmemory = 0.003\nspot_cpu = 0.005\nspot_memory = 0.0007\n",
    "[regions]\nus-central1 = [\"us-central1-a\", \"us-central1-b\"]\n[disk.pd-ssd]\nprice = { us-central1 = 0.17 }\n",
];

fn catalog() -> Target {
    let builtin = Catalog::builtin();
    let own = include_str!("../../../../crates/core/data/catalog/n2d.toml");
    let mut corpus: Vec<String> = PRICES.iter().map(|text| (*text).to_owned()).collect();
    // Parts of our own file: whole, it would take all the time.
    corpus.extend(
        own.split("\n\n")
            .filter(|part| part.len() > 40)
            .map(str::to_owned),
    );
    Target::of_text("catalog overrides", corpus, move |text| {
        match builtin.merge(&[("prices.toml", text)]) {
            Ok(_) => true,
            Err(error) => {
                let _ = (error.to_string(), error.code());
                false
            }
        }
    })
}

/// Variables and files that a configuration may name; nothing of this machine.
struct Given;

impl Surroundings for Given {
    fn variable(&self, name: &str) -> Option<String> {
        (name.len() < 40).then(|| format!("value-of-{name}"))
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        match path.extension() {
            Some(end) if end == "toml" => Ok(PRICES[0].to_owned()),
            Some(_) => Ok("a-token\n".to_owned()),
            None => Err(io::Error::from(io::ErrorKind::NotFound)),
        }
    }

    fn process_name(&self) -> String {
        "host-1".to_owned()
    }
}

fn configuration() -> Target {
    let example = include_str!("../../../../deploy/gust.example.toml");
    // The keys of the example are commented out, most of them.
    let plain = example.replace("\n# ", "\n").replace("\n#", "\n");
    let small = "[[source]]\nname = \"main\"\ntoken = { env = \"TOKEN\" }\nqueues = [\"gust\"]\n\n[[project]]\nid = \"my-project\"\nregions = [\"us-central1\"]\nimage = \"projects/p/global/images/family/f\"\n";
    let corpus = [example.to_owned(), plain, small.to_owned()];
    Target::of_text("configuration", corpus, |text| {
        match Config::parse(text, Path::new("/etc/gust/gust.toml"), &Given) {
            Ok(config) => {
                let _ = config.decided_hash();
                Planner::new(&config, [].into()).is_ok()
            }
            Err(error) => {
                let _ = error.to_string();
                false
            }
        }
    })
}

const PIPELINE: &str = r#"agents: { queue: gust, cpu: 4 }
defaults: &retry
  retry: { automatic: [{ exit_status: -1, limit: 2 }] }
steps:
  - label: ":rust: build"
    command: cargo build --release
    agents: { queue: gust, cpu: 16, memory: 64, region: us-central1 }
  - command: cargo test
  - wait
  - group: "more"
    steps:
      - label: typo
        command: x
        agents:
          - queue=gust
          - memori=700
  - command: x
    <<: *retry
    agents: { queue: gust, cpu: 8, spot: prefer, region: us-east4 }
  - command: x
    agents: { queue: gust, cpu: "$CPUS" }
  - block: go on?
"#;

fn lint() -> Target {
    let linter = gust_cli::lint::Linter::anywhere().expect("the catalog is a good one");
    let corpus = [PIPELINE, "steps:\n- wait\n", "- command: x\n"];
    Target::of_text("lint", corpus, move |text| {
        linter.judge(text, "pipeline.yml").is_ok()
    })
}

/// Records as a store has them, one a line, the key before the first space.
fn records() -> Target {
    let orders = Change::PutOrders(Box::<Orders>::default());
    let format = Change::PutFormat(Format::OURS);
    let mut changes = vec![format, orders];
    for n in 0..3 {
        changes.push(Change::PutJob(sample::job(n)));
        changes.push(Change::PutBatch(Box::new(sample::batch(n))));
    }
    changes.extend(sample::random_changes(1, 20).into_iter().flatten());
    let written = changes
        .iter()
        .filter_map(|change| Some((change.key(), change.value()?)));
    let lines: Vec<Vec<u8>> = written
        .map(|(key, value)| [key.to_string().as_bytes(), b" ", &value].concat())
        .collect();
    let mut corpus = vec![lines[..8].join(&b'\n')];
    corpus.extend(lines);
    Target::new("records", corpus, |bytes| {
        let records: Vec<(String, &[u8])> = bytes
            .split(|byte| *byte == b'\n')
            .filter_map(|line| {
                let at = line.iter().position(|byte| *byte == b' ')?;
                Some((String::from_utf8_lossy(&line[..at]).into_owned(), &line[at + 1..]))
            })
            .collect();
        let records = records.iter().map(|(key, value)| (key.as_str(), *value));
        match Book::load(records, Format::OURS) {
            Ok(book) => {
                let _ = (book.names().len(), book.latest(), book.footprints().len());
                for name in book.names() {
                    let _ = book.batch_of(name);
                }
                for job in book.jobs().values() {
                    let _ = (book.last_attempt(job), book.made_for(&job.job).count());
                }
                true
            }
            Err(error) => {
                let _ = gust_server::error_chain(&error);
                false
            }
        }
    })
}
