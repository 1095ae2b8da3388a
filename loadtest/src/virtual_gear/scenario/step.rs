//! Pipelines, as profiles write them.

use std::fmt::Write as _;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::BuildAt;

/// One step of a pipeline.
#[derive(Clone, Debug, Default)]
pub(super) struct Step {
    pub key: String,
    pub tags: String,
    pub parallelism: u32,
    pub depends_on: Vec<String>,
    pub priority: i64,
    pub run_s: u32,
    pub exit: u8,
    pub retries: u32,
}

impl Step {
    pub fn new(key: impl Into<String>, tags: impl Into<String>, rng: &mut ChaCha8Rng) -> Self {
        Self {
            key: key.into(),
            tags: tags.into(),
            run_s: rng.random_range(3..40),
            ..Self::default()
        }
    }

    fn line(&self) -> String {
        let Self { key, tags, run_s, .. } = self;
        let mut line = format!("{{ key: {key}, command: run, agents: {{ queue: gust, {tags} }}");
        // Writing to a string cannot fail.
        if self.parallelism > 1 {
            let _ = write!(line, ", parallelism: {}", self.parallelism);
        }
        if !self.depends_on.is_empty() {
            let _ = write!(line, ", depends_on: [{}]", self.depends_on.join(", "));
        }
        if self.priority != 0 {
            let _ = write!(line, ", priority: {}", self.priority);
        }
        let _ = write!(line, ", env: {{ GUST_SIM_RUN_S: \"{run_s}\"");
        if self.exit != 0 {
            let _ = write!(line, ", GUST_SIM_EXIT: \"{}\"", self.exit);
        }
        line.push_str(" }");
        let mut rules = Vec::new();
        if self.retries > 0 {
            rules.push(format!(
                "{{ exit_status: {}, limit: {} }}",
                self.exit, self.retries
            ));
        }
        // What `gust lint` proposes. Other steps on Spot are left to gust.
        if self.tags.contains("spot: true") {
            rules.push("{ exit_status: -1, limit: 2 }".to_owned());
        }
        if !rules.is_empty() {
            let _ = write!(line, ", retry: {{ automatic: [ {} ] }}", rules.join(", "));
        }
        line.push_str(" }");
        line
    }
}

pub(super) fn build(at_ms: u64, slug: &str, steps: &[Step]) -> BuildAt {
    let mut pipeline = "steps:\n".to_owned();
    for step in steps {
        pipeline.push_str("  - ");
        pipeline.push_str(&step.line());
        pipeline.push('\n');
    }
    BuildAt {
        at_ms,
        slug: slug.to_owned(),
        pipeline,
    }
}
